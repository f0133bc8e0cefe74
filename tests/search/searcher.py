"""A process that runs a search and can be told where to stop, for the tests that kill it.

    python searcher.py STORAGE TRIALS LOG [BLOCK_AT]

Each start of the objective appends its number to LOG; at trial BLOCK_AT it then waits on a pipe that never speaks.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

from mats_sql.config import SearchSettings
from mats_sql.errors import TrainingError
from mats_sql.search.study import StudyAddress, run_search
from mats_sql.search.trials import TrialResult, TrialSettings
from mats_sql.search.watch import Watch

SETTINGS = SearchSettings(trials=8, beta=(0.05, 1.0), learning_rate=(2e-5, 5e-4), k=(2, 4, 8))


def objective(settings: TrialSettings, number: int, _watch: Watch | None = None) -> TrialResult:
    """A smooth surface with its peak at beta 0.25, learning rate 1e-4 and K 8; trial 2 fails."""
    if number == 2:
        raise TrainingError("training must converge, but the loss is NaN; lower the learning rate")
    loss = abs(math.log(settings.beta / 0.25)) + abs(math.log(settings.learning_rate / 1e-4)) + (8 - settings.k) / 8
    return TrialResult(0.7 * math.exp(-loss / 4), {"reward_accuracy": 1 / (1 + loss)})


def main(storage: str, trials: str, log: str, block_at: str = "-1") -> None:
    """Run the search and print its trials, one a line."""

    def logged(settings: TrialSettings, number: int, _watch: Watch) -> TrialResult:
        with Path(log).open("a") as stream:
            stream.write(f"{number}\n")
        if number == int(block_at):
            print("blocked", flush=True)
            os.read(os.pipe()[0], 1)
        return objective(settings, number)

    settings = SETTINGS.model_copy(update={"trials": int(trials)})
    place = storage if "://" in storage else Path(storage)
    result = run_search(settings, StudyAddress("s", place, 7), objective=logged)
    print(*result.trials, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
