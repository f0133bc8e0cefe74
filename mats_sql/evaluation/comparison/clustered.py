"""Shares and gains with intervals that know that answers about one database are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mats_sql.evaluation.comparison.comparison import MINIMUM_DATABASES
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
    are fewer than six, or all have the same share) it is Wilson's over the flags, for these databases only.
    """
    listed = list(flags)
    proportion = Proportion.of(flag for _, flag in listed)
    clustered = _clustered([(name, float(flag)) for name, flag in listed], lowest=0.0)
    return Share(proportion, clustered or Interval(*proportion.wilson_interval()))


def clustered_gain(pairs: Iterable[tuple[str, bool, bool]]) -> Gain:
    """Return the mean of after - before over (database, before, after), none of which may be missing.

    The interval is the cluster t interval over databases, cut at -1 and 1; where they tell nothing of it, Tango's over
    the pairs.
    """
    listed = list(pairs)
    gained, lost = (sum(after is kind and before is not kind for _, before, after in listed) for kind in (True, False))
    clustered = _clustered([(name, float(after) - float(before)) for name, before, after in listed], lowest=-1.0)
    return Gain((gained - lost) / len(listed), clustered or tango_interval(gained, lost, len(listed)))


def _clustered(values: Sequence[tuple[str, float]], *, lowest: float) -> Interval | None:
    """Return the cluster t interval of the mean within ``lowest`` and 1, or None where databases tell nothing of it."""
    by_database: dict[str, list[float]] = defaultdict(list)
    for name, value in values:
        by_database[name].append(value)
    if len(by_database) < MINIMUM_DATABASES:
        return None
    found = cluster_mean({name: np.array(own) for name, own in by_database.items()})
    interval = found.interval()
    return Interval(max(lowest, interval.low), min(1.0, interval.high)) if found.standard_error > 0 else None
