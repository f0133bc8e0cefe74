"""The parent's side of the worker processes: hand out batches, collect answers, replace what does not come back.

One thread, one socket per worker. Answers of a worker arrive in the order of its batches' SQL, so the SQL that a worker
died of is always known: it gets the verdict of that death, once, and the rest of the batch goes to a fresh process.
"""

from __future__ import annotations

import marshal
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import mats_sql
from mats_sql.config import SqlLimits
from mats_sql.errors import ConfigError, DatabaseError
from mats_sql.sql.database import DatabaseFile
from mats_sql.sql.sandbox import protocol

NearestTuple = tuple[str, str, str, tuple[str, ...]]
ExecutionTuple = tuple[
    str,
    tuple[str, ...],
    tuple[tuple[object, ...], ...],
    int,
    str,
    str,
    str,
    float,
    str,
    tuple[NearestTuple, ...],
    "ExecutionTuple | None",
    str,
]
"""An execution as plain values, in the order of :class:`mats_sql.sql.execution.Execution`."""
Reply = tuple[ExecutionTuple | None, protocol.Verdicts | None, tuple[bytes | None, int] | None]
_PREFETCH = 2
_START = "import sys; sys.path.append(sys.argv[1]); from mats_sql.sql.sandbox.worker import main; main()"
_GOLD = -1
_MAX_FALSE_STARTS = 3
_POLL_S = 1.0
_PATIENCE = 5.0
"""How many times the CPU limit a worker may be silent while the parent listens, before it counts as blocked."""


@dataclass(slots=True)
class BatchGold:
    """A gold SQL: to be executed and reported (``wanted``), or known (``blob`` holds its rows, ``steps`` its cost)."""

    key: bytes
    sql: str
    wanted: bool
    blob: bytes | None = None
    steps: int = 0
    failed: bool = False


@dataclass(slots=True)
class SqlBatch:
    """Some SQL of one database, with one gold or none; ``done`` counts the answers that came."""

    database: DatabaseFile
    sqls: list[str]
    full: bool
    gold: BatchGold | None = None
    token: object = None
    done: int = field(default=0, init=False)
    begun: bool = field(default=False, init=False)


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """One reply: ``index`` is the position in ``batch.sqls``, or -1 for the batch's gold."""

    batch: SqlBatch
    index: int
    reply: Reply


class BatchQueue(Protocol):
    """Where the workers get their batches from."""

    def take(self, last: DatabaseFile | None) -> SqlBatch | None:
        """Return the next batch for a worker that last saw this database; ``None`` when there is none for now."""


class WorkerProcesses:
    """Worker processes that start when first needed and live until :meth:`close`."""

    def __init__(self, limits: SqlLimits, workers: int) -> None:
        self.limits = limits
        self._workers = [_WorkerProcess(limits) for _ in range(workers)]
        self._busy = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all worker processes; new ones start when next needed."""
        for worker in self._workers:
            worker.stop()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """The ids of the live worker processes."""
        return tuple(worker.process.pid for worker in self._workers if worker.process is not None)

    def run(self, queue: BatchQueue) -> Iterator[BatchAnswer]:
        """Yield every answer to the queue's batches as it arrives.

        Raises :class:`DatabaseError` when a database turns out damaged, :class:`ConfigError` when a worker cannot even
        start. Not re-entrant: a second run before the first has ended is a programming error.
        """
        if self._busy:
            raise RuntimeError("one run of worker processes must end before the next begins; use a second executor")
        self._busy = True
        try:
            yield from self._run(queue)
        finally:
            self._busy = False
            for worker in self._workers:
                if worker.batches or worker.resend:
                    worker.stop()

    def _run(self, queue: BatchQueue) -> Iterator[BatchAnswer]:
        selector = selectors.DefaultSelector()
        try:
            while True:
                for worker in self._workers:
                    worker.fill(queue, selector)
                if not any(worker.batches for worker in self._workers):
                    return
                yield from self._collect(selector)
        finally:
            for worker in self._workers:
                worker.unregister(selector)
            selector.close()

    def _collect(self, selector: selectors.BaseSelector) -> Iterator[BatchAnswer]:
        began = time.monotonic()
        events = selector.select(timeout=_POLL_S)
        listened = min(time.monotonic() - began, 2 * _POLL_S)
        for key, mask in events:
            worker: _WorkerProcess = key.data
            if mask & selectors.EVENT_WRITE:
                worker.flush(selector)
            if mask & selectors.EVENT_READ:
                yield from worker.read(selector)
        heard = {key.data for key, mask in events if mask & selectors.EVENT_READ}
        for worker in self._workers:
            worker.silence_s = worker.silence_s + listened if worker.batches and worker not in heard else 0.0
            if worker.silence_s > _PATIENCE * self.limits.timeout_s + 3 * protocol.GRACE_S:
                yield from worker.give_up(selector)


class _WorkerProcess:
    """One process, the batches it was given, and what of its stream has arrived."""

    def __init__(self, limits: SqlLimits) -> None:
        self.limits = limits
        self.process: subprocess.Popen[bytes] | None = None
        self.socket: socket.socket | None = None
        self.batches: deque[SqlBatch] = deque()
        self.resend: deque[SqlBatch] = deque()
        self.last_database: DatabaseFile | None = None
        self.gold_key = b""
        self.overdue = False
        self.false_starts = 0
        self.silence_s = 0.0
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._registered = 0

    def fill(self, queue: BatchQueue, selector: selectors.BaseSelector) -> None:
        """Give the worker batches until it has one in hand and one waiting."""
        while len(self.batches) < _PREFETCH:
            batch = self.resend.popleft() if self.resend else queue.take(self.last_database)
            if batch is None:
                return
            self._give(batch)
            self.flush(selector)

    def _give(self, batch: SqlBatch) -> None:
        if self.process is not None and not self.batches and self.process.poll() is not None:
            self._reap()
        if self.process is None:
            self._start()
        gold = None
        if batch.gold is not None and not batch.gold.failed:
            blob = None if batch.gold.key == self.gold_key else batch.gold.blob
            gold = (batch.gold.key, batch.gold.sql, blob, batch.gold.steps)
            self.gold_key = batch.gold.key
        wanted = batch.gold is not None and batch.gold.wanted
        self._put((batch.database.uri, batch.database.identity, batch.full, gold, wanted, batch.sqls[batch.done :]))
        self.last_database = batch.database
        self.batches.append(batch)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [sys.executable, "-I", "-S", "-c", _START, str(Path(mats_sql.__file__).parents[1])]
        with theirs:
            self.process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment()
            )
        self.socket, self.gold_key = ours, b""
        self._incoming.clear()
        self._outgoing.clear()
        self._put(tuple(wire_limits(self.limits)))

    def _put(self, message: tuple[object, ...]) -> None:
        self._outgoing += protocol.frame(message)

    def flush(self, selector: selectors.BaseSelector) -> None:
        """Send what the socket takes now; ask the selector for the rest."""
        assert self.socket is not None
        try:
            while self._outgoing:
                del self._outgoing[: self.socket.send(memoryview(self._outgoing)[: 1 << 18])]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()
        self._register(selector, selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0))

    def _register(self, selector: selectors.BaseSelector, events: int) -> None:
        assert self.socket is not None
        if not self._registered:
            selector.register(self.socket, events, self)
        elif self._registered != events:
            selector.modify(self.socket, events, self)
        self._registered = events

    def unregister(self, selector: selectors.BaseSelector) -> None:
        """Leave the selector."""
        if self._registered and self.socket is not None:
            selector.unregister(self.socket)
        self._registered = 0

    def read(self, selector: selectors.BaseSelector) -> Iterator[BatchAnswer]:
        """Yield the answers that have arrived, and the death of the process if it died."""
        if self.socket is None:
            return
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            yield from self._bury(selector)
            return
        self._incoming += data
        yield from self._answers()

    def _answers(self) -> Iterator[BatchAnswer]:
        start, messages = 0, []
        while len(self._incoming) - start >= 4:
            end = start + 4 + int.from_bytes(self._incoming[start : start + 4], "little")
            if end > len(self._incoming):
                break
            messages.append(marshal.loads(memoryview(self._incoming)[start + 4 : end]))
            start = end
        del self._incoming[:start]
        for message in messages:
            answer = self._take(message)
            if answer is not None:
                yield answer

    def _take(self, message: tuple[object, ...]) -> BatchAnswer | None:
        batch = self.batches[0]
        if message[0] == "began":
            batch.begun, self.false_starts = True, 0
            return None
        if message[0] == "damaged":
            raise DatabaseError(f"a database must be sound, but {batch.database.path}: {message[2]}; restore the file")
        return self._advance(batch, message)  # type: ignore[arg-type]

    def _advance(self, batch: SqlBatch, reply: Reply) -> BatchAnswer:
        if reply[2] is not None and batch.gold is not None:
            batch.gold.wanted = False
            batch.gold.failed = reply[0] is None or reply[0][0] not in ("rows", "empty")
            batch.gold.blob, batch.gold.steps = reply[2]
            index = _GOLD
        else:
            index, batch.done = batch.done, batch.done + 1
        if batch.done == len(batch.sqls) and not (batch.gold and batch.gold.wanted):
            self.batches.popleft()
        return BatchAnswer(batch, index, reply)

    def give_up(self, selector: selectors.BaseSelector) -> Iterator[BatchAnswer]:
        """End a process that gives no sign, and answer for it."""
        if self.process is not None:
            self.overdue = True
            self.process.kill()
        yield from self._bury(selector)

    def _bury(self, selector: selectors.BaseSelector) -> Iterator[BatchAnswer]:
        self.unregister(selector)
        batches = list(self.batches)
        overdue, status = self.overdue, self._reap()
        if overdue:
            status = -signal.SIGPROF
        blamed = batches[0] if batches and (batches[0].begun or overdue) else None
        if blamed is None:
            self._count_false_start(status)
        elif status != protocol.RECYCLED:
            yield self._blame(blamed, _verdict_of_death(status))
            if blamed.gold is not None and blamed.gold.failed and not blamed.full:
                yield from _without_gold(blamed)
        for batch in batches:
            batch.begun = False
        self.resend.extend(
            batch for batch in batches if batch.done < len(batch.sqls) or (batch.gold and batch.gold.wanted)
        )

    def _count_false_start(self, status: int) -> None:
        """A process that died before it began its batch is replaced, but not for ever."""
        self.false_starts += 1
        if self.false_starts > _MAX_FALSE_STARTS:
            raise ConfigError(
                f"a SQL worker must start within its limits, but it died {self.false_starts} times (status {status}) "
                f"with sql.limits.memory_mib={self.limits.memory_mib}; allow more memory"
            )

    def _blame(self, batch: SqlBatch, death: tuple[str, str]) -> BatchAnswer:
        outcome, error = death
        execution: ExecutionTuple = (outcome, (), (), 0, "", "", error, 0.0, "", (), None, "")
        if batch.gold is not None and batch.gold.wanted:
            batch.gold.wanted, batch.gold.failed = False, True
            return BatchAnswer(batch, _GOLD, (execution, None, (None, 0)))
        index, batch.done = batch.done, batch.done + 1
        verdicts = (outcome, outcome, outcome, outcome)
        return BatchAnswer(batch, index, (execution, verdicts if batch.gold is not None else None, None))

    def _reap(self) -> int:
        assert self.process is not None
        if self.socket is not None:
            self.socket.close()
        try:
            status = self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process, self.socket, self.overdue, self.silence_s = None, None, False, 0.0
        self.last_database, self.gold_key = None, b""
        self.batches.clear()
        return status

    def stop(self) -> None:
        """End the process and forget its batches."""
        self.resend.clear()
        self.batches.clear()
        self._registered = 0
        if self.process is not None:
            self.process.kill()
            self._reap()


def _without_gold(batch: SqlBatch) -> Iterator[BatchAnswer]:
    while batch.done < len(batch.sqls):
        batch.done += 1
        yield BatchAnswer(batch, batch.done - 1, (None, protocol.GOLD_UNAVAILABLE, None))


def _environment() -> dict[str, str]:
    """Return what a worker may know of the environment; one time zone everywhere, for SQL that asks for local time."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {**kept, "TZ": "UTC"}


def _verdict_of_death(status: int) -> tuple[str, str]:
    """Return the outcome and message for the SQL that a worker died of."""
    if status == -signal.SIGPROF:
        return "timeout", "more CPU time than allowed, inside one operation"
    if status == -signal.SIGKILL:
        return "too_big", "the worker process was killed, most likely for its memory"
    return "error", f"the worker process died (status {status})"


def wire_limits(limits: SqlLimits) -> protocol.WireLimits:
    """Return the limits as the worker reads them."""
    return protocol.WireLimits(*(getattr(limits, name) for name in protocol.WireLimits._fields))
