"""A training in a process of its own, whose memory and card are free when it ends.

The job goes to the child's standard input, and that pipe stays open: when this process ends, however it does, the child
ends too. What the child says comes as JSON lines from its standard output (:mod:`.child`); it shares standard error.
A child that is killed leaves its checkpoints: the same stage, started again, goes on from them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mats_sql import errors
from mats_sql.config import TrainingSettings
from mats_sql.errors import MatsError, TrainingError
from mats_sql.generation import LOADED
from mats_sql.threads import threads_shared_among
from mats_sql.training.jobs import TrainingJob, do_job
from mats_sql.training.report import OnMetrics, TrainingReport
from mats_sql.training.sharing import ALONE, Group
from mats_sql.training.telling import lost

_PROGRAM = "from mats_sql.training.child import main; main()"


def train(job: TrainingJob, where: TrainingSettings, on_metrics: OnMetrics) -> TrainingReport:
    """Do a training where the settings say: in this process or in one of its own; no model is kept loaded beside it.

    Raises :class:`TrainingError` (no usable data, diverged, the process was killed) and :class:`ModelError`.
    """
    LOADED.free()
    if runs_separately(where):
        return train_separately(job, on_metrics, Group(where.processes, where.shard))
    return do_job(job, on_metrics)


def runs_separately(where: TrainingSettings) -> bool:
    """Whether a training has processes of its own: several always, one as the settings say, else where there is a GPU.

    On a card it frees what else only the end of the experiment would; on a CPU a process more takes as long to import
    the trainers as a small training takes.
    """
    if where.processes > 1 or where.separate is not None:
        return where.processes > 1 or bool(where.separate)
    import torch

    return bool(torch.cuda.is_available())


def train_separately(job: TrainingJob, on_metrics: OnMetrics, group: Group = ALONE) -> TrainingReport:
    """Do a training in a child process, or in several that a child starts.

    They end with this call whatever happens. Raises what :func:`train` does.
    """
    with threads_shared_among(group.processes):
        child = _start(job, group)
    assert child.stdin is not None
    assert child.stdout is not None
    heard = _Heard()
    try:
        for line in child.stdout:
            heard.take(json.loads(line), on_metrics)
    finally:
        child.stdin.close()  # a child that is still there ends now
        child.stdout.close()
        code = child.wait()
    if heard.report is None:
        raise TrainingError(lost(code))
    return heard.report


@dataclass(slots=True)
class _Heard:
    report: TrainingReport | None = None

    def take(self, message: Mapping[str, object], on_metrics: OnMetrics) -> None:
        """Pass on a step, keep the report; raise an error as what it was in the child."""
        match message:
            case {"step": int(step), "metrics": dict(metrics)}:
                on_metrics(step, metrics)
            case {"report": dict(metrics), "dropped": list(dropped)}:
                self.report = TrainingReport(metrics, tuple(dropped))
            case {"error": str(kind), "message": str(text)}:
                raised: type[MatsError] = getattr(errors, kind)
                raise raised(text)


def _start(job: TrainingJob, group: Group) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert child.stdin is not None
    try:
        child.stdin.write(json.dumps({"job": job.as_json(), "group": asdict(group)}) + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it ended before it read: its end says how
    return child
