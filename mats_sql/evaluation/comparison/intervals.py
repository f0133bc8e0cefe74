"""Confidence intervals for the mean of paired differences: Tango's score interval and the cluster t interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, as fractions."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the data sufficed for an interval."""
        return not math.isnan(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside; false for an unknown (NaN) interval."""
        return self.low > 0 or self.high < 0


UNKNOWN = Interval(math.nan, math.nan)


def tango_interval(gained: int, lost: int, questions: int, *, alpha: float = 0.05) -> Interval:
    """Return Tango's (1998) asymptotic score interval for a difference of paired proportions.

    ``gained`` questions are right only under the treatment, ``lost`` only under the baseline; the difference is
    (gained - lost) / questions. It inverts the score test, so it never leaves [-1, 1], is not empty at zero
    discordance, and keeps its coverage where Wald's interval does not (Fagerland, Lydersen and Laake 2014).
    """
    estimate = (gained - lost) / questions
    critical = float(norm.ppf(1 - alpha / 2))

    def score(difference: float) -> float:
        return _tango_score(gained, lost, questions, difference)

    low = -1.0 if estimate <= -1 else _root(lambda d: score(d) - critical, -1.0, estimate)
    high = 1.0 if estimate >= 1 else _root(lambda d: score(d) + critical, estimate, 1.0)
    return Interval(low, high)


def student_interval(mean: float, variance: float, freedom: float, *, alpha: float = 0.05) -> Interval:
    """Return the t interval around ``mean``, whose own variance is given; unknown without degrees of freedom."""
    if freedom < 1 or math.isnan(variance):
        return UNKNOWN
    half = float(t.ppf(1 - alpha / 2, freedom)) * math.sqrt(variance)
    return Interval(mean - half, mean + half)


@dataclass(frozen=True, slots=True)
class ClusterMean:
    """A mean over questions with its cluster-robust standard error, and the t test that goes with them."""

    mean: float
    standard_error: float
    freedom: int

    def interval(self, alpha: float = 0.05) -> Interval:
        """Return the t interval with clusters - 1 degrees of freedom; unknown below two clusters."""
        return student_interval(self.mean, self.standard_error**2, self.freedom, alpha=alpha)

    @property
    def p_value(self) -> float:
        """The two-sided p-value of "the mean is 0"; 1 when nothing differs, NaN below two clusters."""
        if not self.freedom:
            return math.nan
        if self.standard_error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return 2 * float(t.sf(abs(self.mean) / self.standard_error, self.freedom))


def cluster_mean(clusters: Mapping[str, np.ndarray]) -> ClusterMean:
    """Return the mean over all questions with its CR1 cluster-robust standard error.

    The variance is G/(G-1) * sum over clusters of (sum - size * mean)^2 / questions^2, used with G-1 degrees of freedom
    (Cameron, Gelbach and Miller 2008). The percentile cluster bootstrap is not offered: with about ten clusters its
    type-I error is about .10 (MATS.md, section 6).
    """
    sums = np.array([values.sum() for values in clusters.values()])
    sizes = np.array([len(values) for values in clusters.values()])
    questions = int(sizes.sum())
    mean = float(sums.sum()) / questions
    count = len(sums)
    if count < 2:
        return ClusterMean(mean, math.nan, 0)
    residuals = sums - sizes * mean
    variance = count / (count - 1) * float((residuals**2).sum()) / questions**2
    return ClusterMean(mean, math.sqrt(variance), count - 1)


def _tango_score(gained: int, lost: int, questions: int, difference: float) -> float:
    """Tango's z for "the difference is ``difference``", with the constrained estimate of the lost probability."""
    linear = -gained - lost + (2 * questions - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear**2 - 8 * questions * constant))
    lost_probability = (root - linear) / (4 * questions)
    variance = questions * (2 * lost_probability + difference * (1 - difference))
    numerator = gained - lost - questions * difference
    if variance <= 0:
        return math.copysign(math.inf, numerator) if numerator else 0.0
    return numerator / math.sqrt(variance)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the zero of a decreasing function, or the edge at which it already has the other sign."""
    if function(low) <= 0:
        return low
    if function(high) >= 0:
        return high
    return cast(float, brentq(lambda x: max(-1e9, min(1e9, function(x))), low, high, xtol=1e-12))
