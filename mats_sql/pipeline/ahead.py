"""Work done ahead, side by side in child processes: independent steps, whose finished stages the experiment then finds,
and a stage's draws in parts, which the stage then finds in the caches.

The operations of a small model are too small for many threads: two processes of one thread each draw about one and a
half times as much as one process of two (docs/performance.md). A stage is computed once, whichever process asks first,
and a second one that asks for it meanwhile waits; so a step may be done ahead without a word to those that need it.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

from mats_sql.config import Experiment
from mats_sql.errors import TrainingError
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.workspace import Finished, Workspace
from mats_sql.threads import threads_shared_among, usable_cores

Step = Callable[[Workspace], object]
"""What a process is asked to do; it can be pickled: a module's function, or a ``partial`` of one."""

LEAST_TASKS = 200
"""Fewer are drawn sooner by one process than others need to start."""

_workspace: Workspace | None = None
"""A child process's own view of the experiment, for as long as it lives."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of ``of`` equal parts of a stage's questions."""

    number: int
    of: int

    def among(self, question_ids: Collection[int]) -> frozenset[int]:
        """Return this part's questions: every ``of``-th, so that no part has the long prompts of a database alone."""
        return frozenset(list(question_ids)[self.number :: self.of])


Draw = Callable[[Workspace, Part], object]
"""Draws one part of what a stage asks its agents for, and returns nothing of use; it can be pickled, as a step can."""


def do_ahead(workspace: Workspace, steps: Sequence[Step]) -> None:
    """Do independent steps side by side, longest first, and let the workspace know what they finished.

    With one process, or one step, nothing is done: whoever needs the step does it. Nor in a child process: the others
    are busy already. Raises what a step raises, and :class:`TrainingError` when a process is killed.
    """
    count = min(len(steps), process_count(workspace.experiment))
    if count < 2 or _workspace is not None:
        return
    run_id = workspace.command.run_id if workspace.command else None
    context = multiprocessing.get_context("spawn")
    with (
        threads_shared_among(count),
        ProcessPoolExecutor(count, context, initializer=_open, initargs=(workspace.experiment, run_id)) as pool,
    ):
        futures = [pool.submit(_do, step) for step in steps]
        try:
            for future in as_completed(futures):
                workspace.learn(future.result())
        except BrokenProcessPool:
            raise TrainingError(
                f"{count} processes must stay alive to the end of their stages, but one was killed (out of memory?); "
                "start again, finished stages are reused, or set processes: 1"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def all_but_a_lone_last(workspace: Workspace, steps: Sequence[Step]) -> Sequence[Step]:
    """Return the steps without the last where it would run alone, the other processes done.

    Whoever needs it then has it drawn in parts by all of them. Two or more that are left over go side by side: their
    trainings gain by it.
    """
    count = process_count(workspace.experiment)
    return steps[:-1] if 1 < count < len(steps) and len(steps) % count == 1 else steps


def draw_ahead(workspace: Workspace, draw: Draw, tasks: int) -> None:
    """Draw a stage's ``tasks`` in parts, one per process, so that the caches have what the stage then asks for.

    Only checkpoints on a CPU gain by it: vLLM and servers fill their device from one process. Raises as
    :func:`do_ahead`.
    """
    generation = workspace.experiment.generation
    if tasks < LEAST_TASKS or generation.engine != "transformers" or generation.servers:
        return
    count = process_count(workspace.experiment)
    do_ahead(workspace, [partial(_draw_part, draw=draw, part=Part(number, count)) for number in range(count)])


def process_count(experiment: Experiment) -> int:
    """Return how many processes work side by side: the setting, or one per core, but one alone where there is a GPU.

    With a cluster it is one too: another would only wait for the same nodes.
    """
    if experiment.processes is not None:
        return experiment.processes
    if experiment.cluster is not None:
        return 1
    import torch

    gpu: bool = torch.cuda.is_available()
    return 1 if gpu else usable_cores()


def _open(experiment: Experiment, run_id: str | None) -> None:
    """Open a child's workspace, which closes with the process; end with the parent, however that ends."""
    from mats_sql.tracking import StageRun, connect

    global _workspace
    Thread(target=_end_with_parent, daemon=True).start()
    store = connect(experiment.name, experiment.work_dir)
    command = StageRun(store, run_id, Path(os.devnull)) if run_id else None
    _workspace = Workspace(experiment, store, Progress(live=False), command)


def _do(step: Step) -> Finished:
    assert _workspace is not None, "the pool opens a workspace in each process before its first step"
    step(_workspace)
    return _workspace.finished()


def _draw_part(workspace: Workspace, draw: Draw, part: Part) -> object:
    return draw(workspace, part)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
