"""How a training process says what it does: one JSON object a line, on what was its standard output."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping

from mats_sql.errors import MatsError, TrainingError, one_line
from mats_sql.training.jobs import TrainingJob, do_job
from mats_sql.training.sharing import ALONE, Group

Say = Callable[[Mapping[str, object]], None]


def tell(job: TrainingJob, say: Say, group: Group = ALONE) -> bool:
    """Do a job and say each step, then the report or what a user could mend; return whether there is a report."""
    import torch

    try:
        report = do_job(job, lambda step, metrics: say({"step": step, "metrics": dict(metrics)}), group)
    except MatsError as error:
        say({"error": type(error).__name__, "message": str(error)})
        return False
    except torch.OutOfMemoryError as error:
        text = f"a training must fit into the card's memory, but {one_line(error)}; lower batch_size or max_tokens, or"
        say({"error": TrainingError.__name__, "message": f"{text} set gradient_checkpointing"})
        return False
    say({"report": dict(report.metrics), "dropped": list(report.dropped)})
    return True


def claim_output() -> Say:
    """Take standard output for messages and lead everything else that is written there to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return speaker(own)


def speaker(pipe: int) -> Say:
    """Return what writes messages to a file descriptor, each in one piece."""

    def say(message: Mapping[str, object]) -> None:
        with os.fdopen(os.dup(pipe), "w", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")

    return say


def lost(code: int) -> str:
    """Return what to tell of a process that ended with this code (a signal's negative number) before its report."""
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code} (the cause is above)"
    return (
        f"a training's process must live until its model is written, but it {how}; where memory ran out, lower "
        "batch_size or max_tokens, then start again: it goes on from its last checkpoint"
    )
