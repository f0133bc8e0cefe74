"""Run a search to its budget of trials, whatever dies on the way.

What is covered: a killed process (its trial is abandoned and queued again with the same settings), an objective that
fails (recorded as a failed trial with the reason), several processes on one study (they share the budget and find what
one would), a torn journal. What is not: an objective that never returns.
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
from mats_sql.search.knowledge import may_begin
from mats_sql.search.sampler import SlotSeededTpe
from mats_sql.search.storage import is_there, open_storage, shown, storage_failures
from mats_sql.search.trials import SearchResult, TrialResult, TrialRow, TrialSettings, best_trial
from mats_sql.search.watch import TrialWatch, Watch, pruner_of
from mats_sql.search.worker import beating, is_alive, this_worker

Objective = Callable[[TrialSettings, int, Watch], TrialResult]
OnTrial = Callable[[TrialRow], None]
POLL_S = 0.2
SPACE = "space"
SHARED = "shared"
PARALLEL = "parallel"
BEAT = "beat/"
UNSIGNED_LEASE_S = 10.0
"""How long a running trial without a worker's name (killed between asking and signing) counts as alive."""

_FAILURES = (TrainingError, RuntimeError, ArithmeticError, MemoryError)
"""What the settings of a trial can cause (divergence, no pairs, out of memory). All else stops the search, an
unreachable tracking server included, and the trial is run again when the search is."""


@dataclass(frozen=True, slots=True)
class StudyAddress:
    """Which study, in which storage (a path or a URL), and the root seed of its draws."""

    name: str
    storage: Path | str
    seed: int


def open_study(settings: SearchSettings, address: StudyAddress) -> optuna.Study:
    """Open a study, or make it.

    Raises :class:`ConfigError` for a storage that does not open or a study of another space, seed or parallelism.
    """
    study = optuna.create_study(
        storage=open_storage(address.storage),
        study_name=address.name,
        sampler=SlotSeededTpe(address.seed, settings.parallel),
        pruner=pruner_of(settings),
        direction="maximize",
        load_if_exists=True,
    )
    space = digest_json([settings.beta, settings.learning_rate, settings.k, address.seed])
    if _noted(study, SPACE, space) != space:
        raise ConfigError(
            f"a study must be continued with its own search space and seed, but {address.name!r} in "
            f"{shown(address.storage)} has others; restore them or use another study name"
        )
    if (parallel := _noted(study, PARALLEL, str(settings.parallel))) != str(settings.parallel):
        raise ConfigError(
            f"search.parallel must stay what the study {address.name!r} began with, {parallel}, but got "
            f"{settings.parallel}; restore it or name the experiment anew"
        )
    return study


def known_trials(settings: SearchSettings, address: StudyAddress) -> tuple[TrialRow, ...]:
    """Return the trials of the budget that a study has ended; none where there is no study yet, and makes none."""
    if not is_there(address.storage) or address.name not in optuna.get_all_study_names(open_storage(address.storage)):
        return ()
    trials = open_study(settings, address).get_trials(deepcopy=False)
    rows = [slot.row for slot in ledger.slots(trials) if slot.number < settings.trials]
    return tuple(row for row in rows if row is not None)


def holds(settings: SearchSettings, chosen: TrialSettings) -> bool:
    """Return whether the search space holds these settings."""
    (least_beta, most_beta), (least_rate, most_rate) = settings.beta, settings.learning_rate
    inside = least_beta <= chosen.beta <= most_beta and least_rate <= chosen.learning_rate <= most_rate
    return inside and chosen.k in settings.k


def run_search(
    settings: SearchSettings,
    address: StudyAddress,
    *,
    objective: Objective,
    own: TrialSettings | None = None,
    shared: str = "",
    on_trial: OnTrial | None = None,
    validation_questions: int | None = None,
) -> SearchResult:
    """Run ``settings.trials`` trials of ``objective`` (maximised) and return the best one and all of them.

    ``objective`` gets the settings, the trial's number in the budget, and a watch that hears its scores; ``on_trial``
    is called after each trial that *this* process ended. ``own`` are the experiment's own settings, a new study's trial
    0. ``shared`` is a digest of what all trials have in common. A study that exists is continued: the budget may grow;
    the space, the seed and what trials share may not change. ``validation_questions`` is only for the notice on how
    much the best trial overstates itself.

    Raises :class:`ConfigError` for a storage that does not open or a study of another space, seed or experiment,
    :class:`~mats_sql.errors.TrackingError` for a database that went away and stayed away, and
    :class:`~mats_sql.errors.TrainingError` when every trial failed.
    """
    study = open_study(settings, address)
    if _noted(study, SHARED, shared) != shared:
        raise ConfigError(
            f"the trials of a study must share agents, pool and policy, but those of {address.name!r} in "
            f"{shown(address.storage)} had others; restore the settings (on several machines: let all use one tracking "
            "server, and the first draw its pool before the others start), or name the experiment anew"
        )
    if own is not None and holds(settings, own) and not study.get_trials(deepcopy=False):
        queued = {"beta": own.beta, "k": own.k, "learning_rate": own.learning_rate}
        study.enqueue_trial(queued, user_attrs={ledger.SLOT: 0, ledger.OWN: True})
    search = _Search(study, settings, objective, on_trial, this_worker())
    with storage_failures(address.storage), beating(lambda now: study.set_user_attr(BEAT + search.worker, now)):
        search.abandon_own()
        while search.step():
            pass
        trials = search.rows()
    return SearchResult(best_trial(trials), trials, search_notice(len(trials), validation_questions))


def _noted(study: optuna.Study, key: str, value: str) -> str:
    """Return what a study notes under a key; it notes the value where there is nothing yet."""
    known = study.user_attrs.get(key)
    if known is None:
        study.set_user_attr(key, value)
    return value if known is None else str(known)


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

    def abandon_own(self) -> None:
        """Reclaim what an earlier search of this very process could not close, its database being away."""
        for trial in self.study.get_trials(deepcopy=False, states=(OptunaState.RUNNING,)):
            if trial.user_attrs.get(ledger.WORKER) == self.worker:
                self._bury(trial)

    def step(self) -> bool:
        """Do one piece of work: reclaim what the dead left, then run a trial or wait. False when all is done."""
        self._abandon_dead()
        slots = self._slots()
        for slot in slots:
            if slot.closed is None and not slot.pending and self._may_begin(slots, slot.number):
                self._requeue(slot)
        slots = self._slots()
        fresh = len(slots) < self.settings.trials and self._may_begin(slots, len(slots))
        if fresh or any(self._waits(slot) for slot in slots):
            self._run_one()
        elif len(slots) == self.settings.trials and all(slot.closed is not None for slot in slots):
            return False
        else:
            time.sleep(POLL_S)  # others run the trials that the next one knows, or the last; if they die, we do
        return True

    def _may_begin(self, slots: list[ledger.Slot], number: int) -> bool:
        return may_begin(slots, number, self.settings.parallel)

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
            if not self._may_begin(self._slots(), slot.number):  # two processes asked at once
                self._close(trial, ledger.VOID, ledger.Void.EARLY.value)
                return
            self._attempt(trial, slot.number)
        except optuna.exceptions.UpdateFinishedTrialError:
            return  # this process stood still for so long that another took it for dead and repeats the trial
        row = ledger.slot_of(self.study.get_trials(deepcopy=False), trial.number).row
        if self.on_trial is not None and row is not None:
            self.on_trial(row)

    def _attempt(self, trial: optuna.Trial, number: int) -> None:
        try:
            result = self.objective(self._suggest(trial), number, TrialWatch(trial))
        except _FAILURES as error:
            self._close(trial, ledger.REASON, f"{type(error).__name__}: {' '.join(str(error).split())}")
        except BaseException:
            self._close(trial, ledger.VOID, ledger.Void.STOPPED.value)
            raise
        else:
            trial.set_user_attr(ledger.DIAGNOSTICS, dict(result.diagnostics))
            if result.pruned:
                # told as complete with the mean so far, as Optuna advises: a pruned one's value would be its last score
                trial.set_user_attr(ledger.PRUNED, True)
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
