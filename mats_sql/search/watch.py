"""What a running trial tells of itself: the questions it has answered, which decide whether it goes on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner

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


def pruner_named(name: Literal["none", "wilcoxon"]) -> BasePruner:
    """Return Optuna's pruner for ``search.pruner``.

    ``WilcoxonPruner`` pairs a trial's questions with the best trial's. It never ends one whose mean so far is at least
    the best one's, so the best trial has always answered all questions.
    """
    if name == "none":
        return NopPruner()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return WilcoxonPruner(p_threshold=P_THRESHOLD)
