"""Shares and gains with intervals that know that answers about one database are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mats_sql.evaluation.comparison.intervals import Interval, cluster_mean, tango_interval
from mats_sql.evaluation.comparison.proportion import Proportion


@dataclass(frozen=True, slots=True)
class Share:
    """A count out of a total with its 95% interval."""

    proportion: Proportion
    interval: Interval


@dataclass(frozen=True, slots=True)
class Gain:
    """How much larger a share is after than before, over the same units, with its 95% interval (fractions)."""

    difference: float
    interval: Interval


def clustered_share(flags: Iterable[tuple[str, bool]]) -> Share:
    """Return the share of true flags, each given with its database.

    The interval is the cluster t interval over databases, cut at 0 and 1. Where the databases tell nothing of it (there
    is but one, or all have the same share) it is Wilson's over the flags.
    """
    listed = list(flags)
    proportion = Proportion.of(flag for _, flag in listed)
    found = cluster_mean(_by_database((name, float(flag)) for name, flag in listed)) if listed else None
    if found is None or not found.standard_error > 0:
        return Share(proportion, Interval(*proportion.wilson_interval()))
    interval = found.interval()
    return Share(proportion, Interval(max(0.0, interval.low), min(1.0, interval.high)))


def clustered_gain(pairs: Iterable[tuple[str, bool, bool]]) -> Gain:
    """Return the mean of after - before over (database, before, after), none of which may be missing.

    The interval is the cluster t interval over databases; where they tell nothing of it, Tango's over the pairs.
    """
    listed = list(pairs)
    found = cluster_mean(_by_database((name, float(after) - float(before)) for name, before, after in listed))
    if found.standard_error > 0:
        return Gain(found.mean, found.interval())
    gained, lost = (sum(after is kind and before is not kind for _, before, after in listed) for kind in (True, False))
    return Gain(found.mean, tango_interval(gained, lost, len(listed)))


def _by_database(values: Iterable[tuple[str, float]]) -> dict[str, np.ndarray]:
    found: dict[str, list[float]] = defaultdict(list)
    for name, value in values:
        found[name].append(value)
    return {name: np.array(own) for name, own in found.items()}
