"""Run untrusted SQL against SQLite databases, safely, and many at a time.

What is covered. Each SQL runs in a worker process on a read-only, immutable connection under an authorizer that allows
reading and nothing else: no write, ATTACH, transaction, extension, temporary table, or PRAGMA that changes anything.
SQLite's limits bound the SQL's length and depth and every value's size; a hard heap limit and an address-space limit
bound memory; sorting stays in memory and the process may not write a byte to any file. A progress handler stops a
statement after a number of virtual-machine steps, then after a CPU time; a kernel timer ends a worker that is stuck
inside one operation, and the parent one that is silent for far longer: it is replaced and the rest is judged. No answer
is ever retried into another.

What is not covered. A worker is an ordinary process of the same user: there is no seccomp filter, no namespace, no
protection from a bug in SQLite that would let SQL run machine code. CPU-time and out-of-memory outcomes (``timeout``
inside one operation, ``too_big`` for memory) can differ between machines, but not with how busy a machine is; the step
count and the row and byte bounds cannot. SQL that asks for the time or for random numbers answers differently each
time. A database that another process changes in place during a run is not noticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast

from mats_sql.config import SqlLimits
from mats_sql.sql.database import DatabaseFile, look_at
from mats_sql.sql.execution import Execution, Outcome, Row
from mats_sql.sql.sandbox.nearest import Nearest
from mats_sql.sql.sandbox.workers import ExecutionTuple, SqlBatch, WorkerProcesses

if TYPE_CHECKING:
    from mats_sql.sql.cluster_processes import ClusterProcesses

_WINDOW = 2048
_BATCH = 16


@dataclass(frozen=True, slots=True)
class SqlRequest:
    """One SQL to run on one database."""

    database: Path
    sql: str


class SqlExecutor:
    """Executes SQL in worker processes; use it as a context manager, or call :meth:`close`."""

    def __init__(self, limits: SqlLimits, workers: int, *, cluster: Literal["ray"] | None = None) -> None:
        """Start nothing; with ``cluster`` the processes are on its nodes, ``workers`` on each.

        Raises :class:`mats_sql.errors.ClusterError` for a cluster whose software is not installed.
        """
        self.limits = limits
        self.workers = workers
        self.processes = _processes(limits, workers, cluster)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        self.processes.close()

    def execute_many(self, requests: Iterable[SqlRequest]) -> Iterator[Execution]:
        """Yield one execution per request, in request order; equal requests run once per window of 2,048.

        Raises :class:`mats_sql.errors.DatabaseError` for a database that is missing or damaged.
        """
        stream = iter(requests)
        while window := list(islice(stream, _WINDOW)):
            yield from self._execute_window(window)

    def execute(self, request: SqlRequest) -> Execution:
        """Return the execution of one request."""
        return next(iter(self.execute_many((request,))))

    def _execute_window(self, window: list[SqlRequest]) -> list[Execution]:
        distinct: dict[Path, dict[str, None]] = {}
        for request in window:
            distinct.setdefault(request.database, {})[request.sql] = None
        databases = {path: look_at(path) for path in distinct}
        done: dict[tuple[Path, str], Execution] = {}
        for answer in self.processes.run(_Batches(databases, distinct)):
            execution = answer.reply[0]
            assert execution is not None
            done[answer.batch.database.path, answer.batch.sqls[answer.index]] = to_execution(execution)
        return [done[request.database, request.sql] for request in window]


def _processes(limits: SqlLimits, workers: int, cluster: Literal["ray"] | None) -> WorkerProcesses | ClusterProcesses:
    if cluster is None:
        return WorkerProcesses(limits, workers)
    from mats_sql.sql.cluster_processes import ClusterProcesses

    return ClusterProcesses(limits, workers)


def to_execution(answer: ExecutionTuple) -> Execution:
    """Return the worker's plain answer as an :class:`Execution`."""
    outcome, columns, preview, row_count, digest, ordered, error, elapsed_s, multiset, nearest, retried, tried = answer
    return Execution(
        outcome=Outcome(outcome),
        columns=columns,
        preview=cast("tuple[Row, ...]", preview),
        row_count=row_count,
        digest=digest,
        ordered_digest=ordered,
        error=error,
        elapsed_s=elapsed_s,
        multiset_digest=multiset,
        nearest=tuple(Nearest(*found) for found in nearest),
        retried=None if retried is None else to_execution(retried),
        tried=tried,
    )


class _Batches:
    """Batches of a few SQL each; a worker gets more of the database it has open while there is any."""

    def __init__(self, databases: dict[Path, DatabaseFile], distinct: dict[Path, dict[str, None]]) -> None:
        self._databases = databases
        self._waiting = {path: list(reversed(sqls)) for path, sqls in distinct.items()}
        self._remaining = sum(map(len, self._waiting.values()))

    def take(self, last: DatabaseFile | None) -> SqlBatch | None:
        """Return the next batch: of the database last used, else of the one with the most left."""
        if not self._remaining:
            return None
        path = last.path if last is not None and self._waiting.get(last.path) else self._longest()
        waiting = self._waiting[path]
        size = max(1, min(_BATCH, len(waiting), self._remaining // 8))
        self._remaining -= size
        return SqlBatch(self._databases[path], [waiting.pop() for _ in range(size)], True)

    def _longest(self) -> Path:
        return max(self._waiting, key=lambda path: len(self._waiting[path]))
