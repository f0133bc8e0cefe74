"""Run a search to its budget of trials, whatever dies on the way.

What is covered: a killed process (its trial is abandoned and queued again with the same settings), an objective that
fails (recorded as a failed trial with the reason), several processes on one study (they share the budget and return
the same result), a torn journal. What is not: an objective that never returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from mats_sql.config import SearchSettings
from mats_sql.digests import digest_json
from mats_sql.errors import ConfigError, TrainingError
from mats_sql.evaluation.comparison import best_of_n_overstatement
from mats_sql.search import ledger
from mats_sql.search.sampler import SlotSeededTpe
from mats_sql.search.storage import open_storage
from mats_sql.search.trials import SearchResult, TrialResult, TrialRow, TrialSettings, best_trial
from mats_sql.search.worker import beating, is_alive, this_worker

Objective = Callable[[TrialSettings, int], TrialResult]
OnTrial = Callable[[TrialRow], None]
POLL_S = 0.2
SPACE = "space"
BEAT = "beat/"
UNSIGNED_LEASE_S = 10.0
"""How long a running trial without a worker's name (killed between asking and signing) counts as alive."""

_FAILURES = (TrainingError, RuntimeError, ArithmeticError, MemoryError)
"""What the settings of a trial can cause (divergence, no pairs, out of memory). All else stops the search, an
unreachable tracking server included, and the trial is run again when the search is."""


def run_search(
    settings: SearchSettings,
    *,
    study_name: str,
    storage: Path | str,
    seed: int,
    objective: Objective,
    on_trial: OnTrial | None = None,
    validation_questions: int | None = None,
) -> SearchResult:
    """Run ``settings.trials`` trials of ``objective`` (maximised) and return the best one and all of them.

    ``objective`` gets the settings and the trial's number in the budget; ``on_trial`` is called after each trial that
    *this* process ended. A study that exists is continued: the budget may grow, the space and the seed may not change.
    ``validation_questions`` is only for the notice on how much the best trial overstates itself.

    Raises :class:`ConfigError` for a storage that does not open or a study of another space or seed, and
    :class:`~mats_sql.errors.TrainingError` when every trial failed.
    """
    study = _open_study(settings, study_name, storage, seed)
    search = _Search(study, settings, objective, on_trial, this_worker())
    with beating(lambda now: study.set_user_attr(BEAT + search.worker, now)):
        while search.step():
            pass
    trials = search.rows()
    return SearchResult(best_trial(trials), trials, search_notice(len(trials), validation_questions))


def search_notice(trials: int, validation_questions: int | None) -> str:
    """Return the sentence that warns of the best trial's optimism (Cawley and Talbot 2010)."""
    advice = "report it on questions outside the validation split only"
    if validation_questions is None:
        return f"The best of {trials} trials overstates itself; {advice}."
    low, high = best_of_n_overstatement(trials, validation_questions)
    return (
        f"The best of {trials} trials on {validation_questions:,} validation questions overstates itself by about "
        f"{100 * low:.1f} to {100 * high:.1f} pp; {advice}."
    )


def _open_study(settings: SearchSettings, name: str, storage: Path | str, seed: int) -> optuna.Study:
    study = optuna.create_study(
        storage=open_storage(storage),
        study_name=name,
        sampler=SlotSeededTpe(seed),
        direction="maximize",
        load_if_exists=True,
    )
    space = digest_json([settings.beta, settings.learning_rate, settings.k, seed])
    known = study.user_attrs.get(SPACE)
    if known is None:
        study.set_user_attr(SPACE, space)
    elif known != space:
        raise ConfigError(
            f"a study must be continued with its own search space and seed, but {name!r} in {storage} has others; "
            "restore them or use another study name"
        )
    return study


@dataclass(frozen=True, slots=True)
class _Search:
    study: optuna.Study
    settings: SearchSettings
    objective: Objective
    on_trial: OnTrial | None
    worker: str

    def rows(self) -> tuple[TrialRow, ...]:
        """Return the closed slots of the budget."""
        return tuple(row for slot in self._slots() if (row := slot.row) is not None)

    def step(self) -> bool:
        """Do one piece of work: reclaim what the dead left, then run a trial or wait. False when all is done."""
        self._abandon_dead()
        for slot in self._slots():
            if slot.closed is None and not slot.pending:
                self._requeue(slot)
        slots = self._slots()
        if len(slots) < self.settings.trials or any(self._waits(slot) for slot in slots):
            self._run_one()
            return True
        if all(slot.closed is not None for slot in slots):
            return False
        time.sleep(POLL_S)  # another process runs the last trials; if it dies, they become ours
        return True

    def _slots(self) -> list[ledger.Slot]:
        found = ledger.slots(self.study.get_trials(deepcopy=False))
        return [slot for slot in found if slot.number < self.settings.trials]

    @staticmethod
    def _waits(slot: ledger.Slot) -> bool:
        return any(trial.state is OptunaState.WAITING for trial in slot.attempts)

    def _abandon_dead(self) -> None:
        beats = self.study.user_attrs
        for trial in self.study.get_trials(deepcopy=False, states=(OptunaState.RUNNING,)):
            worker = trial.user_attrs.get(ledger.WORKER)
            if worker is None:
                started = trial.datetime_start
                dead = started is None or time.time() - started.timestamp() > UNSIGNED_LEASE_S
            else:
                dead = not is_alive(worker, beats.get(BEAT + worker))
            if dead:
                self._bury(trial)

    def _requeue(self, slot: ledger.Slot) -> None:
        params = max((trial.params for trial in slot.attempts), key=len)
        self.study.enqueue_trial(params, user_attrs={ledger.SLOT: slot.number})

    def _run_one(self) -> None:
        trial = self.study.ask()
        try:
            trial.set_user_attr(ledger.WORKER, self.worker)
            slot = ledger.slot_of(self.study.get_trials(deepcopy=False), trial.number)
            earlier = [one for one in slot.attempts if one.number < trial.number and not ledger.is_void(one)]
            if slot.number >= self.settings.trials or earlier:
                self._close(trial, ledger.VOID, ledger.Void.SURPLUS.value)
                return
            self._attempt(trial, slot.number)
        except optuna.exceptions.UpdateFinishedTrialError:
            return  # this process stood still for so long that another took it for dead and repeats the trial
        row = ledger.slot_of(self.study.get_trials(deepcopy=False), trial.number).row
        if self.on_trial is not None and row is not None:
            self.on_trial(row)

    def _attempt(self, trial: optuna.Trial, number: int) -> None:
        try:
            result = self.objective(self._suggest(trial), number)
        except _FAILURES as error:
            self._close(trial, ledger.REASON, f"{type(error).__name__}: {' '.join(str(error).split())}")
        except BaseException:
            self._close(trial, ledger.VOID, ledger.Void.STOPPED.value)
            raise
        else:
            trial.set_user_attr(ledger.DIAGNOSTICS, dict(result.diagnostics))
            self.study.tell(trial, result.selector_ex)

    def _close(self, trial: optuna.Trial, key: str, why: str) -> None:
        """End an attempt without a value, saying why; the reason is written first, so that no end lacks one."""
        trial.set_user_attr(key, why)
        self.study.tell(trial, state=OptunaState.FAIL)

    def _suggest(self, trial: optuna.Trial) -> TrialSettings:
        return TrialSettings(
            beta=trial.suggest_float("beta", *self.settings.beta, log=True),
            k=trial.suggest_categorical("k", list(self.settings.k)),
            learning_rate=trial.suggest_float("learning_rate", *self.settings.learning_rate, log=True),
        )

    def _bury(self, trial: FrozenTrial) -> None:
        """Close a dead attempt; when two processes do so at once, the second finds it done."""
        storage = self.study._storage  # a frozen trial's attributes have no public setter
        try:
            storage.set_trial_user_attr(trial._trial_id, ledger.VOID, ledger.Void.DIED.value)
            self.study.tell(trial.number, state=OptunaState.FAIL)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
            return
