"""What its controls leave of a treatment's gap: it must stand over the baseline and over each control, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.comparison.significance import holm


@dataclass(frozen=True, slots=True)
class Survival:
    """A treatment's gaps over the baseline and over each of its controls, on one question set.

    The claim "above all of them" is made when every one of the gaps is found (an intersection-union test: its p-value
    is the largest of the gaps' own), so ``adjusted_p`` is that largest one after Holm's correction over the treatments.
    """

    gaps: tuple[Comparison, ...]
    adjusted_p: float

    @property
    def treatment(self) -> str:
        """The treatment's name."""
        return self.gaps[0].treatment

    @property
    def least_gap(self) -> float:
        """The smallest of the gaps, as a fraction."""
        return min(gap.difference for gap in self.gaps)

    @property
    def survives(self) -> bool:
        """Whether the treatment is distinguishably above baseline and controls."""
        return self.least_gap > 0 and self.adjusted_p <= self.gaps[0].alpha

    @property
    def sentence(self) -> str:
        """One sentence: every gap, and whether the claim holds."""
        shown = ", ".join(f"{100 * gap.difference:+.2f} pp over {gap.baseline}" for gap in self.gaps)
        finding = "survives its controls" if self.survives else "does not survive its controls"
        return f"{self.treatment} {finding}: {shown} (largest p, Holm-adjusted: {self.adjusted_p:.3f})."


def survivals(comparisons: Sequence[Comparison]) -> tuple[Survival, ...]:
    """Return the survival of every treatment that has a control, of comparisons on one question set."""
    controlled = dict.fromkeys(one.treatment for one in comparisons if one.control)
    gaps = {name: tuple(one for one in comparisons if one.treatment == name) for name in controlled}
    adjusted = holm({name: max(gap.decision_p for gap in own) for name, own in gaps.items()})
    return tuple(Survival(own, adjusted[name]) for name, own in gaps.items())
