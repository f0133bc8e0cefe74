"""How often a gap reaches a margin when databases, questions and seeds are drawn again: a description, not a test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mats_sql.choices import SeedsVary
from mats_sql.evaluation.comparison.comparison import MINIMUM_DATABASES, MarginShare
from mats_sql.evaluation.comparison.over_seeds import share_seeds
from mats_sql.evaluation.comparison.paired import Paired

DRAWS = 2000
DEFAULT_MARGIN = 0.01
_SEED = 20080914
_ROUNDING = 1e-12


def margin_shares(
    data: Paired, seeds_vary: SeedsVary, margin: float = DEFAULT_MARGIN, *, draws: int = DRAWS
) -> tuple[MarginShare, ...]:
    """Return the share of resamples whose gap reaches ``margin`` (a fraction), and twice that.

    A resample draws databases with replacement and then questions within each (with fewer than six databases:
    questions within the databases there are), and each side's seeds; shared seeds go together. The draws are
    the same in every call, so equal answers have equal shares. It is the bootstrap's picture of the gap's uncertainty,
    somewhat too narrow with about ten databases, and no posterior probability.
    """
    gaps = _resampled(data, seeds_vary, draws)
    return tuple(MarginShare(least, float((gaps >= least - _ROUNDING).mean())) for least in (margin, 2 * margin))


def _resampled(data: Paired, seeds_vary: SeedsVary, draws: int) -> np.ndarray:
    random = np.random.default_rng(_SEED)
    names, order = np.unique(data.db_ids, return_inverse=True)
    by_database = np.argsort(order, kind="stable")
    databases = _Databases(np.bincount(order, minlength=len(names)))
    baselines, treatments = data.baseline[:, by_database], data.treatment[:, by_database]
    seeds = _Seeds(len(baselines), len(treatments), share_seeds(data, seeds_vary))
    gaps = np.empty(draws)
    for draw in range(draws):
        baseline, treatment = seeds.drawn(random)
        asked = databases.drawn(random)
        gaps[draw] = treatments[np.ix_(treatment, asked)].mean() - baselines[np.ix_(baseline, asked)].mean()
    return gaps


@dataclass(frozen=True, slots=True)
class _Seeds:
    """How many seeds each side has, and whether they go together."""

    baseline: int
    treatment: int
    shared: bool

    def drawn(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return indexes of each side's seeds, drawn with replacement."""
        baseline = random.integers(self.baseline, size=self.baseline)
        return baseline, baseline if self.shared else random.integers(self.treatment, size=self.treatment)


@dataclass(frozen=True, slots=True)
class _Databases:
    """How many questions each database has; they lie one database after the other."""

    sizes: np.ndarray

    def drawn(self, random: np.random.Generator) -> np.ndarray:
        """Return indexes of questions: as many databases with replacement, and as many of each one's questions."""
        count = len(self.sizes)
        chosen = random.integers(count, size=count) if count >= MINIMUM_DATABASES else np.arange(count)
        sizes, starts = self.sizes[chosen], (np.cumsum(self.sizes) - self.sizes)[chosen]
        own = np.floor(random.random(int(sizes.sum())) * np.repeat(sizes, sizes)).astype(int)
        return np.asarray(np.repeat(starts, sizes) + own)
