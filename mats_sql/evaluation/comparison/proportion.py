"""A count out of a total: what every accuracy and rate here is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proportion:
    """``count`` out of ``total``. The value of 0 out of 0 is NaN: no evidence is not 0%."""

    count: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.total:
            raise ValueError(f"0 <= count <= total must hold, but got (count={self.count}, total={self.total})")

    @classmethod
    def of(cls, flags: Iterable[bool]) -> Proportion:
        """Count the true among ``flags``."""
        listed = list(flags)
        return cls(sum(listed), len(listed))

    @property
    def value(self) -> float:
        """The fraction in [0, 1], or NaN without a total."""
        return self.count / self.total if self.total else math.nan

    @property
    def percent(self) -> str:
        """The fraction in percent with two decimals, or a dash without a total."""
        return f"{100 * self.value:.2f}" if self.total else "–"

    def wilson_interval(self) -> tuple[float, float]:
        """Return Wilson's 95% score interval, or (NaN, NaN) without a total."""
        if not self.total:
            return math.nan, math.nan
        from scipy.stats import binomtest

        low, high = binomtest(self.count, self.total).proportion_ci(method="wilson")
        return min(self.value, float(low)), max(self.value, float(high))  # at 0 and 1 rounding can pass the estimate
