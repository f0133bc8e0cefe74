"""Which Optuna trial stands for which number of the budget.

Optuna numbers every attempt; a search counts *slots*: 0 to trials-1, each to be finished or failed once. A fresh
trial takes the next slot; an attempt whose process died is abandoned, and its slot is queued again with the same
parameters. The slot is a pure function of the list of trials, so all processes agree on it without locks, and a search
that was killed and resumed has the same slots as one that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from mats_sql.search.trials import TrialRow, TrialSettings, TrialState

SLOT = "slot"
WORKER = "worker"
VOID = "void"
REASON = "reason"
DIAGNOSTICS = "diagnostics"
PRUNED = "pruned"
OWN = "own"
"""Marks the experiment's own settings, which a new study queues as slot 0 before anything is drawn."""
MAXIMUM_DEATHS = 5
"""After so many dead processes a slot counts as failed: its settings probably kill them."""


class Void(StrEnum):
    """Why an attempt decides nothing.

    Its process died, it was stopped, another attempt had the slot already, or what it has to know is not decided.
    """

    DIED = "died"
    STOPPED = "stopped"
    SURPLUS = "surplus"
    EARLY = "early"


@dataclass(frozen=True, slots=True)
class Slot:
    """One number of the budget with every attempt at it, in order."""

    number: int
    attempts: tuple[FrozenTrial, ...]

    @property
    def closed(self) -> FrozenTrial | None:
        """The attempt that decided the slot: the first finished or failed one, or the last of too many deaths."""
        decided = [trial for trial in self.attempts if trial.state.is_finished() and not is_void(trial)]
        deaths = [trial for trial in self.attempts if trial.user_attrs.get(VOID) == Void.DIED]
        return decided[0] if decided else deaths[-1] if len(deaths) >= MAXIMUM_DEATHS else None

    @property
    def pending(self) -> bool:
        """Whether an attempt waits or runs."""
        return any(not trial.state.is_finished() for trial in self.attempts)

    @property
    def row(self) -> TrialRow | None:
        """The slot as a row of the table of trials, or None while it is open."""
        trial = self.closed
        if trial is None:
            return None
        finished = trial.state is OptunaState.COMPLETE
        died = f"the process running it died {MAXIMUM_DEATHS} times"
        return TrialRow(
            number=self.number,
            settings=settings_of(trial),
            state=_state(trial),
            selector_ex=trial.value if finished else None,
            reason="" if finished else str(trial.user_attrs.get(REASON, died)),
            diagnostics=dict(trial.user_attrs.get(DIAGNOSTICS, {})),
        )


def _state(trial: FrozenTrial) -> TrialState:
    if trial.state is not OptunaState.COMPLETE:
        return TrialState.FAILED
    return TrialState.PRUNED if trial.user_attrs.get(PRUNED) else TrialState.FINISHED


def is_void(trial: FrozenTrial) -> bool:
    """Whether an attempt decides nothing (see :class:`Void`)."""
    return VOID in trial.user_attrs


def slots(trials: Sequence[FrozenTrial]) -> list[Slot]:
    """Group attempts by slot; a trial without a slot of its own opens the next one.

    Slot 0 is the experiment's own settings in a study that queued them: it did so before it drew any others.
    """
    found: dict[int, list[FrozenTrial]] = {}
    fresh = int(any(OWN in trial.user_attrs for trial in trials))
    for trial in sorted(trials, key=lambda trial: trial.number):
        slot = trial.user_attrs.get(SLOT)
        if slot is None:
            slot, fresh = fresh, fresh + 1
        found.setdefault(int(slot), []).append(trial)
    return [Slot(number, tuple(found[number])) for number in sorted(found)]


def slot_of(trials: Sequence[FrozenTrial], number: int) -> Slot:
    """Return the slot that Optuna's trial ``number`` belongs to."""
    return next(slot for slot in slots(trials) if any(trial.number == number for trial in slot.attempts))


def settings_of(trial: FrozenTrial) -> TrialSettings:
    """Return a trial's settings; NaN and 0 for what a process that died had not yet drawn."""
    params = trial.params
    return TrialSettings(
        float(params.get("beta", "nan")), int(params.get("k", 0)), float(params.get("learning_rate", "nan"))
    )
