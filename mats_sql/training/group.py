"""Several processes at one training: torch's elastic launcher starts them, and each takes its part of every step.

The process that calls :func:`train_in_group` trains nothing itself. A process that fails or is killed ends the others;
when the launching process ends, however it does, so do they.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from multiprocessing.connection import wait
from threading import Thread

from mats_sql.errors import TrainingError
from mats_sql.training.jobs import TrainingJob
from mats_sql.training.sharing import Group
from mats_sql.training.telling import Say, claim_output, lost, tell


def train_in_group(job: TrainingJob, group: Group, say: Say) -> bool:
    """Do a job in a group's processes, on a card each where there are any; return whether there is a report.

    The first process says how it goes on standard output, which has to be the launching process's own.
    """
    import torch
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else group.processes
    if cards < group.processes:
        rule = f"training.processes must be at most the cards of this machine, {cards}"
        text = f"{rule}, but got {group.processes}; lower it"
        say({"error": TrainingError.__name__, "message": text})
        return False
    logging.disable(logging.CRITICAL)  # the launcher's tables of what failed: one line says it
    with tempfile.TemporaryDirectory(prefix="mats-sql-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=group.processes,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            run_id="training",
            local_addr="127.0.0.1",
            max_restarts=0,
            start_method="spawn",
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, _take_part)(job, group)
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            say({"error": TrainingError.__name__, "message": lost(failure.exitcode)})
            return False
    return True


def _take_part(job: TrainingJob, group: Group) -> None:
    """Be one of the processes; the first says everything, the others what a user could mend."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_the_launcher, daemon=True).start()
    say = claim_output()
    leads = os.environ["RANK"] == "0"
    if not tell(job, say if leads else lambda message: say(message) if "error" in message else None, group):
        sys.exit(1)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _end_with_the_launcher() -> None:
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    wait([launcher.sentinel])
    os._exit(1)
