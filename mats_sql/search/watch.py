"""What a running trial tells of itself: the questions it has answered, which decide whether it goes on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from optuna.trial import FrozenTrial

from mats_sql.config import SearchSettings
from mats_sql.search.knowledge import known_to
from mats_sql.search.ledger import slot_of

P_THRESHOLD = 0.1
"""Optuna's own: a trial ends when, were it as good as the best one, so bad a record had at most this probability."""


class Watch(Protocol):
    """Hears a trial's scores while it runs."""

    def report(self, scores: Mapping[int, float]) -> bool:
        """Take the scores of some questions by id; return whether the trial should go on."""
        ...


class TrialWatch:
    """Passes a trial's scores to its study, each question's once."""

    def __init__(self, trial: optuna.Trial) -> None:
        """``trial`` is the running one."""
        self._trial = trial
        self._reported: set[int] = set()

    def report(self, scores: Mapping[int, float]) -> bool:
        """Take scores by question id; return False when the study's pruner gives the trial no hope."""
        with warnings.catch_warnings():
            # a trial of a study from before pruning has no scores, so nothing is compared with it
            warnings.filterwarnings("ignore", message=".*WilcoxonPruner.*")
            for question_id, score in scores.items():
                if question_id not in self._reported:
                    self._trial.report(score, question_id)
                    self._reported.add(question_id)
            return not self._trial.should_prune()


class KnownBestPruner(BasePruner):  # type: ignore[misc]  # optuna's types are not followed
    """Optuna's ``WilcoxonPruner`` against the best of the trials that a trial knows.

    It pairs a trial's questions with that trial's, and never ends one whose mean so far is at least as high: the best
    trial has always answered all questions.
    """

    def __init__(self, parallel: int) -> None:
        """``parallel`` is how many trials run without knowing each other."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._pruner = WilcoxonPruner(p_threshold=P_THRESHOLD)
        self._parallel = parallel

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether a running trial has no hope left."""
        slot = slot_of(study.get_trials(deepcopy=False), trial.number).number
        return bool(self._pruner.prune(known_to(study, slot, self._parallel), trial))


def pruner_of(settings: SearchSettings) -> BasePruner:
    """Return the pruner that ``search.pruner`` names."""
    return NopPruner() if settings.pruner == "none" else KnownBestPruner(settings.parallel)
