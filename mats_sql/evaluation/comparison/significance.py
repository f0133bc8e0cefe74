"""Tests that keep their size on paired questions in few databases: mid-p McNemar, exact sign-flip; and Holm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate

from scipy.stats import binom


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """Return the two-sided mid-p McNemar p-value (Fagerland, Lydersen and Laake 2013).

    It is the exact conditional p-value minus the point probability of the observed table: its size is close to nominal,
    without the exact test's conservatism. No discordant question gives 1.
    """
    fewer, discordant = min(gained, lost), gained + lost
    return min(1.0, 2 * float(binom.cdf(fewer, discordant, 0.5)) - float(binom.pmf(fewer, discordant, 0.5)))


def sign_flip_p(sums: Sequence[int]) -> float:
    """Return the exact two-sided p-value of the sign-flip test over cluster sums.

    Under "no database prefers a side" every sum is as likely as its negative, so each of the 2^G sign patterns is
    equally likely; p is the share of patterns whose absolute total is at least the observed one. The patterns are
    counted by convolution, not listed: exact for any number of clusters, in time linear in the sum of their sizes. The
    smallest p that G clusters can reach is 2 / 2^G.
    """
    observed = abs(sum(sums))
    totals: dict[int, int] = {0: 1}
    for value in sums:
        flipped: dict[int, int] = {}
        for total, patterns in totals.items():
            for signed in (total + value, total - value):
                flipped[signed] = flipped.get(signed, 0) + patterns
        totals = flipped
    extreme = sum(patterns for total, patterns in totals.items() if abs(total) >= observed)
    return float(Fraction(extreme, 2 ** len(sums)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's (1979) step-down adjusted p-values, in the order given; they control the family-wise error."""
    rising = sorted(p_values, key=lambda name: p_values[name])
    steps = accumulate(((len(rising) - rank) * p_values[name] for rank, name in enumerate(rising)), max)
    adjusted = {name: min(1.0, step) for name, step in zip(rising, steps, strict=True)}
    return {name: adjusted[name] for name in p_values}
