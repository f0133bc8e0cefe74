"""What a trial knows of a study: the trials so many numbers before it, whoever ran them and however fast.

Sampler and pruner see a study as it is when they are asked, which with several workers depends on who was quicker. Here
both see the same part of it always, so a search is a function of its settings and seed: the number of workers, their
speed and a kill change nothing.
"""

from __future__ import annotations

import optuna
from optuna.trial import TrialState as OptunaState

from mats_sql.search import ledger


def may_begin(slots: list[ledger.Slot], number: int, parallel: int) -> bool:
    """Return whether all that trial ``number`` may know is decided: the trials ``parallel`` before it and earlier."""
    return all(slot.closed is not None for slot in slots if slot.number <= number - parallel)


def known_to(study: optuna.Study, number: int, parallel: int) -> optuna.Study:
    """Return a study in memory of the trials that trial ``number`` knows, those with a value, by number."""
    slots = ledger.slots(study.get_trials(deepcopy=False))
    decided = [slot.closed for slot in slots if slot.number <= number - parallel]
    known = optuna.create_study(direction="maximize")
    known.add_trials([trial for trial in decided if trial is not None and trial.state is OptunaState.COMPLETE])
    return known
