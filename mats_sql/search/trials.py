"""What a search tries and what it finds: settings, results and the table of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mats_sql.errors import TrainingError


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """One point of the search space: ORPO's weight, the pool's prefix K, and the learning rate."""

    beta: float
    k: int
    learning_rate: float

    def overrides(self) -> str:
        """Return what ``--set`` takes to give an experiment exactly these settings: floats to their last digit."""
        return f"orpo.beta={self.beta!r} orpo.learning_rate={self.learning_rate!r} pairs.k={self.k}"


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What an objective returns: selector EX on the validation split (a fraction) and any diagnostics.

    ``pruned`` says that the trial was ended early: the selector EX is that of the questions answered until then.
    """

    selector_ex: float
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    pruned: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.selector_ex <= 1.0:  # NaN fails too
            raise TrainingError(f"a trial's selector EX must be a fraction, but got {self.selector_ex}; see its run")


class TrialState(StrEnum):
    """How a trial of the budget ended."""

    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial of the budget. ``reason`` says why it failed; a failed trial has no selector EX.

    A pruned trial's selector EX is that of the questions it answered, so it stands in no comparison with the others'.
    """

    number: int
    settings: TrialSettings
    state: TrialState
    selector_ex: float | None
    reason: str
    diagnostics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best trial and all trials, by number. ``notice`` says how much the best one overstates itself."""

    best: TrialRow
    trials: tuple[TrialRow, ...]
    notice: str


def best_trial(trials: tuple[TrialRow, ...]) -> TrialRow:
    """Return the finished (not pruned) trial with the highest selector EX; the earliest of equals.

    Raises :class:`TrainingError` when no trial finished.
    """
    finished = [trial for trial in trials if trial.state is TrialState.FINISHED]
    if not finished:
        reason = trials[0].reason if trials else "no trial was run"
        raise TrainingError(f"a search must finish a trial, but all {len(trials)} failed, the first with: {reason}")
    return max(finished, key=lambda trial: (trial.selector_ex or 0.0, -trial.number))
