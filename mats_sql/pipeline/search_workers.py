"""Several processes of one machine at one search.

The command's process makes what all trials share, then starts its helpers and works beside them; the study gives each
trial to one of them. A helper that dies leaves its trial to the others; when the command's process dies, so do its
helpers, and the next start goes on. On another machine the same command joins through ``search.storage``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from mats_sql.config import Experiment
from mats_sql.errors import ConfigError, MatsError
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.search import RegimeSearch, prepare_shared, run_trials
from mats_sql.pipeline.search_report import report_search
from mats_sql.pipeline.workspace import Workspace
from mats_sql.search import SearchResult, holds, open_study
from mats_sql.threads import let_threads_sleep, threads_shared_among
from mats_sql.tracking import StageRun, connect

_PROGRAM = "from mats_sql.pipeline import help_search; help_search()"


def search_regimes(
    workspace: Workspace, regimes: Sequence[str], *, trials: int | None = None, workers: int = 1
) -> dict[str, SearchResult]:
    """Search each regime with the same space, sampler seed and budget; return the results by regime.

    ``trials`` overrides the budget; ``workers`` processes share the trials. Every study is opened before anything is
    trained, so that a storage that does not open is said at once.
    """
    if workers > (parallel := workspace.experiment.search.parallel):
        raise ConfigError(
            f"workers must be at most search.parallel ({parallel}), the trials that run at once, but got {workers}; "
            "raise search.parallel in a search that has not begun, or use fewer workers"
        )
    searches = {regime: RegimeSearch.of(workspace.experiment, regime, trials) for regime in regimes}
    for search in searches.values():
        open_study(search.settings, search.address)
    _tell_own(workspace, next(iter(searches.values())))
    for search in searches.values():
        prepare_shared(workspace, search)
    with threads_shared_among(workers), _helpers(workspace, regimes, trials, workers - 1):
        results = {regime: run_trials(workspace, search) for regime, search in searches.items()}
    for regime, search in searches.items():
        report_search(workspace, search, results[regime])
    return results


def help_search() -> None:
    """Work at the trials of the search that standard input describes: what a helper process runs. Ends with it."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    let_threads_sleep()
    experiment = Experiment.model_validate(order["experiment"])
    store = connect(order["tracked_as"], experiment.work_dir)
    quiet = Progress(Console(stderr=True, highlight=False, soft_wrap=True, force_terminal=False))
    command = None if order["run_id"] is None else StageRun(store, order["run_id"], Path(order["work"]))
    try:
        with Workspace(experiment, store, quiet, command) as workspace:
            for regime in order["regimes"]:
                run_trials(workspace, RegimeSearch.of(experiment, regime, order["trials"]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except MatsError as error:
        sys.exit(f"error: a worker of the search: {' '.join(str(error).split())}")


def _end_with_the_command() -> None:
    """Interrupt this process when the one that started it is gone: its end of the pipe is closed then."""
    os.read(sys.stdin.fileno(), 1)  # not through sys.stdin, whose lock a thread must not hold when Python ends
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def _helpers(workspace: Workspace, regimes: Sequence[str], trials: int | None, count: int) -> Iterator[None]:
    """Start helper processes and let them end; they are stopped when the block raises."""
    started: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            started.append(_start(workspace, regimes, trials))
        yield
        for helper in started:
            if helper.wait() != 0:
                workspace.progress.note("  a worker of the search ended with an error; the others ran its trials")
    finally:
        for helper in started:
            assert helper.stdin is not None
            helper.stdin.close()
        for helper in started:
            helper.wait()


def _start(workspace: Workspace, regimes: Sequence[str], trials: int | None) -> subprocess.Popen[str]:
    command = workspace.command
    order = {
        "experiment": workspace.experiment.model_dump(mode="json"),
        "tracked_as": workspace.store.experiment_name,
        "run_id": None if command is None else command.run_id,
        "work": "" if command is None else str(command.work),
        "regimes": list(regimes),
        "trials": trials,
    }
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    helper = subprocess.Popen([sys.executable, "-P", "-c", _PROGRAM], stdin=subprocess.PIPE, env=environment, text=True)
    assert helper.stdin is not None
    helper.stdin.write(json.dumps(order) + "\n")
    helper.stdin.flush()
    return helper


def _tell_own(workspace: Workspace, search: RegimeSearch) -> None:
    """Say why the experiment's own settings are no trial, where they are none."""
    own = search.own
    if own is None:
        why = "its whole pool has another number of plans than of critiques, which no K gives"
    elif not holds(search.settings, own):
        why = f"beta {own.beta:g}, K {own.k}, learning rate {own.learning_rate:g} are outside the search's ranges"
    else:
        return
    workspace.progress.note(f"  the experiment's own settings are not among the trials: {why}")
