"""What training seeds add to the noise of questions: an interval and a p-value over both.

Seeds that vary ORPO alone are each side's own. Seeds that vary the pool, or the SFT agents, are shared: both sides
stand on the same ones, so it is the gap that varies from seed to seed, and by far less than either side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy.optimize import brentq
from scipy.stats import t

from mats_sql.choices import SeedsVary
from mats_sql.evaluation.comparison.intervals import UNKNOWN, Interval, student_interval
from mats_sql.evaluation.comparison.paired import Paired

_SMALLEST_P = 1e-12

Source = tuple[float, int]
"""A variance of the mean difference, and its degrees of freedom."""


def share_seeds(data: Paired, seeds_vary: SeedsVary) -> bool:
    """Return whether the runs of the two sides go together, the first with the first and so on."""
    return seeds_vary is not SeedsVary.ORPO and len(data.baseline) == len(data.treatment)


def over_seeds(data: Paired, seeds_vary: SeedsVary, alpha: float) -> tuple[Interval, float]:
    """Return the interval and the p-value over questions and seeds; unknown and NaN with one seed a side."""
    if data.questions < 2 or not all(len(side) > 1 for side in (data.baseline, data.treatment)):
        return UNKNOWN, math.nan
    questions = (variance_of_mean(data.differences), data.questions - 1)
    if share_seeds(data, seeds_vary):
        return _both(data.mean, [questions, _gaps_of_seeds(data)], alpha)
    return _sum(data.mean, [questions, *(_excess(runs) for runs in (data.baseline, data.treatment))], alpha)


def seed_noise(data: Paired, seeds_vary: SeedsVary) -> float:
    """Return the standard deviation between seeds that the power formula has for each side; 0 when it is unknown."""
    if share_seeds(data, seeds_vary):
        variance, freedom = _gaps_of_seeds(data) if len(data.baseline) > 1 else (0.0, 0)
        return math.sqrt(variance * (freedom + 1) / 2)
    known = [runs.mean(axis=1).var(ddof=1) for runs in (data.baseline, data.treatment) if len(runs) > 1]
    return math.sqrt(float(np.mean(known))) if known else 0.0


def variance_of_mean(values: np.ndarray) -> float:
    """Return the variance of the values' mean, NaN for one value."""
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else math.nan


def student_p(mean: float, variance: float, freedom: float) -> float:
    """Return the two-sided p-value of "the mean is 0"."""
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(t.sf(abs(mean) / math.sqrt(variance), freedom))


def _gaps_of_seeds(data: Paired) -> Source:
    gaps = (data.treatment - data.baseline).mean(axis=1)
    return variance_of_mean(gaps), len(gaps) - 1


def _excess(runs: np.ndarray) -> Source:
    """Return what a side's mean varies between seeds beyond what the question-level variance already counts."""
    shared = float(runs.var(axis=0, ddof=1).sum()) / runs.shape[1] ** 2
    return max(0.0, float(runs.mean(axis=1).var(ddof=1)) - shared) / len(runs), len(runs) - 1


def _sum(mean: float, sources: Sequence[Source], alpha: float) -> tuple[Interval, float]:
    """One t interval for the summed variances, with Satterthwaite's degrees of freedom."""
    variance = sum(part for part, _ in sources)
    if variance == 0:
        return Interval(mean, mean), student_p(mean, 0, 1)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in sources)
    return student_interval(mean, variance, freedom, alpha=alpha), student_p(mean, variance, freedom)


def _both(mean: float, sources: Sequence[Source], alpha: float) -> tuple[Interval, float]:
    """Every source with its own t quantile (Banerjee 1960), so at least the coverage named, however few the seeds.

    The p-value is the alpha at which the interval begins to hold 0.
    """

    def half(level: float) -> float:
        return math.sqrt(sum(part * float(t.ppf(1 - level / 2, degrees)) ** 2 for part, degrees in sources))

    interval = Interval(mean - half(alpha), mean + half(alpha))
    if half(_SMALLEST_P) <= abs(mean):
        return interval, 0.0 if mean else 1.0
    root = brentq(lambda power: half(math.exp(power)) - abs(mean), math.log(_SMALLEST_P), 0.0)
    return interval, math.exp(cast(float, root))
