"""The process that :mod:`.separate` starts: it reads one job from standard input, does it, and says how it goes.

Standard output carries nothing but messages (:mod:`.telling`). When standard input ends, the process that wants the
model is gone, and this one ends at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from threading import Thread

from mats_sql.training.jobs import TrainingJob
from mats_sql.training.sharing import Group
from mats_sql.training.telling import claim_output, speaker, tell


def main() -> None:
    """Do the job of standard input, alone or with as many processes as it asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that started this one
    order = json.loads(sys.stdin.readline())
    Thread(target=_end_with_the_pipe, daemon=True).start()
    job, group = TrainingJob.from_json(order["job"]), Group(**order["group"])
    sys.exit(0 if _do(job, group) else 1)


def _do(job: TrainingJob, group: Group) -> bool:
    if group.processes == 1:
        return tell(job, claim_output())
    from mats_sql.training.group import train_in_group

    sys.stdout = sys.stderr  # standard output itself stays the pipe: the processes of the group inherit it
    return train_in_group(job, group, speaker(1))


def _end_with_the_pipe() -> None:
    os.read(0, 1)  # not through sys.stdin, whose lock a thread must not hold when Python ends
    os._exit(1)
