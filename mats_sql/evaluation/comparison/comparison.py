"""What a comparison of two teams found: the record that every page, table and plot of it is made from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mats_sql.choices import SeedsVary
from mats_sql.evaluation.comparison.intervals import Interval

MINIMUM_DATABASES = 6
"""Below this the sign-flip test cannot reach .05 (2 / 2^5 = .0625): claims then hold for these databases only."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Confidence intervals of the difference: over questions, over databases, over questions and seeds.

    ``question`` is Tango's score interval for one run a side and a t interval over questions' mean differences
    otherwise; ``database`` is the cluster t interval (unknown for one database); ``seed`` adds the variance between
    seeds to the question-level one (unknown with one seed a side). What a seed varies is in the comparison.
    """

    question: Interval
    database: Interval
    seed: Interval


@dataclass(frozen=True, slots=True)
class PValues:
    """Two-sided p-values of "no difference"; NaN where a test does not apply.

    ``question`` is mid-p McNemar for one run a side, a t test otherwise; ``sign_flip`` and ``cluster`` are over
    databases; ``seed`` goes with ``Intervals.seed``.
    """

    question: float
    sign_flip: float
    cluster: float
    seed: float


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """Accuracies of one side's training seeds and their standard deviation (NaN for one seed), as fractions."""

    accuracies: tuple[float, ...]
    deviation: float


@dataclass(frozen=True, slots=True)
class DatabaseGap:
    """The paired difference within one database, as a fraction, with a question-level t interval."""

    db_id: str
    questions: int
    difference: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class MarginShare:
    """The share of bootstrap resamples whose gap is at least ``margin``; both are fractions."""

    margin: float
    share: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment minus baseline on the questions of one set. Differences are fractions (0.01 is one point).

    ``gained`` and ``lost`` count questions right only under the treatment or only under the baseline (with several
    seeds: the mean over all pairs of runs). ``decision_p`` is the largest p-value that applies: a difference is claimed
    only when every test claims it (an intersection-union test, so its size is at most ``alpha``). ``adjusted_p`` is
    that after Holm's correction when several comparisons were made together. ``control`` says which kind of baseline
    this is when it is a control of the treatment and not the baseline that all treatments have. ``margins`` say how
    often resamples reach the protocol's margin and twice that (empty: not counted). ``seeds_vary`` says what the sides'
    seeds vary, and with that what the interval and the p-value over seeds cover.
    """

    question_set: str
    baseline: str
    treatment: str
    questions: int
    difference: float
    gained: float
    lost: float
    alpha: float
    intervals: Intervals
    p_values: PValues
    decision_p: float
    adjusted_p: float
    minimal_detectable_effect: float
    baseline_seeds: SeedNoise
    treatment_seeds: SeedNoise
    seeds_vary: SeedsVary
    databases: tuple[DatabaseGap, ...]
    margins: tuple[MarginShare, ...] = ()
    control: str = ""

    @property
    def discordance(self) -> float:
        """The share of questions that two runs disagree on."""
        return (self.gained + self.lost) / self.questions

    @property
    def distinguishable(self) -> bool:
        """Whether every applicable test finds a difference at ``alpha``, after the correction."""
        return self.adjusted_p <= self.alpha

    @property
    def at_least(self) -> float:
        """The lowest end of the intervals that apply, as ``decision_p`` is the largest p-value that does."""
        spans = [self.intervals.question, self.intervals.seed]
        if len(self.databases) >= MINIMUM_DATABASES:
            spans.append(self.intervals.database)
        return min(span.low for span in spans if span.known)

    @property
    def over_seeds(self) -> str:
        """What the interval over seeds covers, in words."""
        return f"over questions and {self.seeds_vary.covered}"

    @property
    def verdict(self) -> str:
        """One sentence: the gap with its intervals, whether it is distinguishable from 0, and by which tests."""
        named = {
            "over questions": self.intervals.question,
            "over databases": self.intervals.database,
            self.over_seeds: self.intervals.seed,
        }
        spans = "; ".join(f"{_points(span)} {over}" for over, span in named.items() if span.known)
        finding = "distinguishable" if self.distinguishable else "not distinguishable"
        return (
            f"{self.treatment} − {self.baseline} = {100 * self.difference:+.2f} pp "
            f"[{100 * (1 - self.alpha):.0f}% CI {spans}]: {finding} ({self._reasons()})."
        )

    def as_mlflow(self) -> dict[str, float]:
        """Return the comparison's numbers under flat MLflow names; unknown ones are left out."""
        values = {
            "gap": self.difference,
            "gap_low": self.intervals.question.low,
            "gap_high": self.intervals.question.high,
            "gap_low_over_databases": self.intervals.database.low,
            "gap_high_over_databases": self.intervals.database.high,
            "gap_low_over_seeds": self.intervals.seed.low,
            "gap_high_over_seeds": self.intervals.seed.high,
            "p_question": self.p_values.question,
            "p_sign_flip": self.p_values.sign_flip,
            "p_cluster": self.p_values.cluster,
            "p_seed": self.p_values.seed,
            "p_decision": self.decision_p,
            "p_adjusted": self.adjusted_p,
            "discordance": self.discordance,
            "minimal_detectable_effect": self.minimal_detectable_effect,
            "distinguishable": float(self.distinguishable),
        }
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def _reasons(self) -> str:
        single = len(self.baseline_seeds.accuracies) == len(self.treatment_seeds.accuracies) == 1
        tests = {
            "mid-p McNemar" if single else "t over questions": self.p_values.question,
            self.seeds_vary.covered: self.p_values.seed,
        }
        if len(self.databases) >= MINIMUM_DATABASES:
            tests |= {"sign-flip over databases": self.p_values.sign_flip, "cluster t": self.p_values.cluster}
        parts = [f"{name} p {_p(value)}" for name, value in tests.items() if not math.isnan(value)]
        if self.adjusted_p != self.decision_p:
            parts.append(f"Holm-adjusted p {_p(self.adjusted_p)}")
        if len(self.databases) < MINIMUM_DATABASES:
            parts.append(f"holds for {these_databases(len(self.databases))} only, too few to test over databases")
        if single:
            parts.append("one training seed a side, so seed noise is not covered")
        return "; ".join(parts)


def _points(interval: Interval) -> str:
    return f"{100 * interval.low:+.2f}, {100 * interval.high:+.2f}"


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"= {value:.3f}".replace("= 0.", "= .") if value < 1 else "= 1"


def these_databases(count: int) -> str:
    """Return ``this 1 database``, ``these 3 databases``."""
    return f"these {count} databases" if count != 1 else "this 1 database"
