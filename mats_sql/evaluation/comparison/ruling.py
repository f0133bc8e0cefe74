"""The rule that turns a treatment's gaps into a claim: fixed beforehand, in docs/report.md."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mats_sql.evaluation.comparison.comparison import MINIMUM_DATABASES, Comparison, these_databases
from mats_sql.evaluation.comparison.comparisons import Comparisons


class Finding(StrEnum):
    """What may be said of a treatment beside its baseline."""

    BEATS = "beats"
    UNEXPLAINED = "is above"
    UNCONTROLLED = "is above, without controls,"
    BEATEN = "is below"
    OPEN = "is not distinguishable from"


@dataclass(frozen=True, slots=True)
class Ruling:
    """The finding on one question set; ``gap`` is the one over the baseline, ``lacking`` says what a claim lacks."""

    finding: Finding
    gap: Comparison
    lacking: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The finding in words, with what a claim lacks and what could have been seen."""
        gap, asked = self.gap, self.gap.question_set
        place = asked.capitalize() if asked.startswith("outside") else f"On {asked}"
        parts = [
            f"{place}, {gap.treatment} {self.finding} {gap.baseline}: "
            f"{100 * gap.difference:+.2f} pp over {gap.questions:,} questions."
        ]
        if self.finding is Finding.UNEXPLAINED:
            parts.append("It does not survive its controls: how many pairs it has, or what they conclude, may be why.")
        if self.lacking:
            parts.append(f"That it beats {gap.baseline} is not shown; missing: {'; '.join(self.lacking)}.")
        if self.finding is Finding.OPEN:
            parts.append(self._power)
        if len(gap.databases) < MINIMUM_DATABASES:
            parts.append(f"It holds for {these_databases(len(gap.databases))} only.")
        if not gap.intervals.seed.known:
            parts.append("One training seed a side: seed noise is not covered.")
        return " ".join(parts)

    @property
    def _power(self) -> str:
        effect = self.gap.minimal_detectable_effect
        if math.isnan(effect):
            return "The two are right on the same questions, so nothing can be said of a difference."
        return (
            f"The minimal detectable effect is {100 * effect:.2f} pp: a smaller true difference is found with a "
            "probability below .8, so this is no evidence of none."
        )

    @property
    def margins(self) -> str:
        """How often resamples reach the margin, in words."""
        shares = (f"P(gap ≥ {100 * one.margin:g} pp) = {100 * one.share:.1f}%" for one in self.gap.margins)
        return f"{self.gap.treatment} − {self.gap.baseline}, {self.gap.question_set}: {', '.join(shares)}"


def rulings(comparisons: Comparisons, question_set: str) -> tuple[Ruling, ...]:
    """Return the finding on every treatment of one question set, in order.

    *Beats*: the gap over the baseline and over every control is distinguishable and positive, every applicable interval
    of each of them excludes 0, and the treatment survives its controls (Holm over the treatments). When only the gap
    over the baseline is so, it is *above*, and the sentence says that controls are missing or not survived. *Below*:
    the gap over the baseline is distinguishable and negative, by every applicable interval. Else *not distinguishable*.
    """
    survived = {one.treatment: one.survives for one in comparisons.survivals(question_set)}
    return tuple(_ruling(comparisons, gap, survived) for gap in comparisons.on(question_set))


def _ruling(comparisons: Comparisons, gap: Comparison, survived: dict[str, bool]) -> Ruling:
    controls = [
        one
        for control in comparisons.controls
        for one in comparisons.on(gap.question_set, control)
        if one.treatment == gap.treatment
    ]
    own = tuple(_lacking(gap, sign=1))
    lacking = own + tuple(reason for one in controls for reason in _lacking(one, sign=1))
    if own:
        below = not any(_lacking(gap, sign=-1))
        return Ruling(Finding.BEATEN, gap, ()) if below else Ruling(Finding.OPEN, gap, lacking)
    if not controls:
        return Ruling(Finding.UNCONTROLLED, gap, ("its controls, which were not run",))
    if not lacking and not survived.get(gap.treatment, False):
        lacking = ("a corrected p of the claim over INDEP and all controls at once",)
    return Ruling(Finding.UNEXPLAINED, gap, lacking) if lacking else Ruling(Finding.BEATS, gap, ())


def _lacking(gap: Comparison, *, sign: int) -> Iterator[str]:
    """Yield what speaks against a difference of this sign: a test, or an interval that holds 0."""
    spans = {"over questions": gap.intervals.question, gap.over_seeds: gap.intervals.seed}
    if len(gap.databases) >= MINIMUM_DATABASES:
        spans["over databases"] = gap.intervals.database
    holding = [name for name, span in spans.items() if span.known and not (span.low > 0 if sign > 0 else span.high < 0)]
    if holding:
        yield f"an interval above 0 over {gap.baseline} ({', '.join(holding)})"
    elif not gap.distinguishable:
        yield f"a corrected p of at most {gap.alpha:g} over {gap.baseline} (p = {gap.adjusted_p:.3f})"
