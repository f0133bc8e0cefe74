"""TPE whose every draw depends on the seed, the slot and the trials that the slot knows, and on nothing else."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from mats_sql.search.knowledge import known_to
from mats_sql.search.ledger import slot_of
from mats_sql.seeds import derive_seed

STARTUP_TRIALS = 5
"""Random draws before the first modelled one: half of Optuna's default, as budgets here are 8 to 40 trials."""


class SlotSeededTpe(BaseSampler):  # type: ignore[misc]  # optuna's types are not followed
    """Optuna's TPE, built anew with the slot's own seed for each draw.

    Optuna's sampler carries its random state from trial to trial in memory, so a resumed study draws other settings
    than one that was never killed. Parameters are drawn one by one (``multivariate=False``): no draw depends on which
    others were made.
    """

    def __init__(self, seed: int, parallel: int) -> None:
        """``seed`` is the root seed of the search, ``parallel`` how many trials run without knowing each other."""
        self._seed = seed
        self._parallel = parallel

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002 - Optuna's signature
    ) -> dict[str, BaseDistribution]:
        """No parameters are drawn jointly."""
        return {}

    def sample_relative(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """No parameters are drawn jointly."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one parameter."""
        slot = slot_of(study.get_trials(deepcopy=False), trial.number).number
        seed = derive_seed(self._seed, "search", slot, param_name) % 2**32
        sampler = TPESampler(seed=seed, multivariate=False, n_startup_trials=STARTUP_TRIALS)
        known = known_to(study, slot, self._parallel)
        return sampler.sample_independent(known, trial, param_name, param_distribution)
