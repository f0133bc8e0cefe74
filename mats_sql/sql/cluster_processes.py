"""SQL workers on a Ray cluster: the same batches as in this process's own workers, answered on every node.

On each node there are ``sql.workers`` actors, each with one worker process of its own, so that untrusted SQL runs under
the same bounds as without a cluster. An actor takes no core in Ray's books: SQL and engines are seldom busy together.

When a node dies, Ray starts its actors on another one and gives them again what was not answered; nothing that was
answered is executed again. Databases must be found under the same paths on every node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mats_sql.cluster import join, nodes, of_cluster, require_ray
from mats_sql.config import SqlLimits
from mats_sql.errors import MatsError
from mats_sql.sql.database import DatabaseFile
from mats_sql.sql.sandbox.workers import BatchAnswer, BatchQueue, Reply, SqlBatch, WorkerProcesses

if TYPE_CHECKING:
    from ray import ObjectRef

RESTARTS = 3
"""How often an actor that died starts again: a batch that kills every actor must end the stage."""
_PREFETCH = 2

Replies = list[tuple[int, Reply]]


class ClusterProcesses:
    """Worker processes on all nodes that start when first needed and live until :meth:`close`."""

    def __init__(self, limits: SqlLimits, workers: int) -> None:
        """Start nothing; ``workers`` is the number per node. Raises :class:`ClusterError` if Ray is not installed."""
        require_ray()
        self.limits = limits
        self._per_node = workers
        self._actors: list[_Actor] = []

    def close(self) -> None:
        """End the actors; new ones start when next needed."""
        actors, self._actors = self._actors, []
        if actors:
            import ray

            for actor in actors if ray.is_initialized() else ():
                ray.kill(actor.handle)

    def run(self, queue: BatchQueue) -> Iterator[BatchAnswer]:
        """Yield every answer to the queue's batches, batch by batch as they come.

        Raises what :meth:`WorkerProcesses.run` raises, and :class:`ClusterError`.
        """
        import ray

        waiting: dict[ObjectRef, tuple[_Actor, SqlBatch]] = {}
        with of_cluster("a batch of SQL"):
            actors = self._started()
            while True:
                for actor in actors:
                    waiting |= {reference: (actor, batch) for reference, batch in actor.fill(queue)}
                if not waiting:
                    return
                for reference in ray.wait(list(waiting), num_returns=1)[0]:
                    actor, batch = waiting.pop(reference)
                    actor.in_hand -= 1
                    yield from _answers(batch, ray.get(reference))

    def _started(self) -> list[_Actor]:
        """Start the actors where there are none; what an unfinished run left to them is forgotten."""
        join()
        if not self._actors:
            self._actors = [
                _Actor(_start(self.limits, node.node_id)) for node in nodes() for _ in range(self._per_node)
            ]
        for actor in self._actors:
            actor.in_hand = 0
        return self._actors


@dataclass(slots=True)
class _Actor:
    """An actor as this process sees it."""

    handle: Any
    in_hand: int = 0
    last_database: DatabaseFile | None = None

    def fill(self, queue: BatchQueue) -> Iterator[tuple[ObjectRef, SqlBatch]]:
        """Give the actor batches until it has one in hand and one waiting."""
        while self.in_hand < _PREFETCH and (batch := queue.take(self.last_database)) is not None:
            self.in_hand += 1
            self.last_database = batch.database
            yield self.handle.answer.remote(replace(batch, token=None)), batch


class SqlActor:
    """One worker process on one node."""

    def __init__(self, limits: SqlLimits) -> None:
        self._processes = WorkerProcesses(limits, 1)

    def answer(self, batch: SqlBatch) -> Replies | MatsError:
        """Return the batch's replies with their places, -1 for its gold's, or the error that a user can mend."""
        try:
            return [(answer.index, answer.reply) for answer in self._processes.run(_Once(batch))]
        except MatsError as error:
            return error


class _Once:
    """A queue of one batch."""

    def __init__(self, batch: SqlBatch) -> None:
        self._batch: SqlBatch | None = batch

    def take(self, _last: DatabaseFile | None) -> SqlBatch | None:
        """Return the batch the first time."""
        batch, self._batch = self._batch, None
        return batch


def _answers(batch: SqlBatch, replies: Replies | MatsError) -> Iterator[BatchAnswer]:
    if isinstance(replies, MatsError):
        raise replies
    yield from (BatchAnswer(batch, index, reply) for index, reply in replies)


def _start(limits: SqlLimits, node_id: str) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    place = NodeAffinitySchedulingStrategy(node_id, soft=True)  # soft: a restart may be elsewhere
    options = {"num_cpus": 0, "max_restarts": RESTARTS, "max_task_retries": -1, "scheduling_strategy": place}
    return ray.remote(**options)(SqlActor).remote(limits)
