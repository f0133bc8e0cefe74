"""The process that runs untrusted SQL: a loop over batches that arrive on its standard input, a socket.

Started by :mod:`mats_sql.sql.sandbox.workers` in an interpreter of its own, standard library only, so that it starts in
milliseconds and inherits nothing. It holds no state that can change an answer: connections are read-only and immutable,
and each SQL has its own count of virtual-machine steps.
"""

from __future__ import annotations

import contextlib
import marshal
import os

from mats_sql.sql.sandbox.confinement import PERIOD, DatabaseDamaged, Session, confine
from mats_sql.sql.sandbox.protocol import (
    GOLD_UNAVAILABLE,
    MAX_GOLD_BLOB,
    RECYCLED,
    WireLimits,
    pack,
    read_exactly,
    receive,
    send,
)
from mats_sql.sql.sandbox.run import GoldRows, Run

_OPEN_DATABASES = 8


class SqlWorker:
    """The loop: a batch is a database, perhaps a gold, and SQL; the answers go out one by one, in order."""

    def __init__(self, limits: WireLimits) -> None:
        self.limits = limits
        self.sessions: dict[tuple[str, str], Session] = {}
        self.gold: GoldRows | None = None

    def work(self) -> None:
        """Answer batches until the parent closes the socket."""
        while (batch := receive()) is not None:
            uri, identity, full, gold, wants_gold, sqls = batch
            send(("began", uri))
            try:
                session = self._session(uri, identity)
                lost = gold is not None and not self._prepare_gold(session, gold, wants_gold)
                for sql in sqls:
                    self._answer(session, sql, None if gold is None or lost else self.gold, full, lost)
            except DatabaseDamaged as error:
                send(("damaged", uri, str(error)))

    def _session(self, uri: str, identity: str) -> Session:
        key = (uri, identity)
        session = self.sessions.pop(key, None)
        if session is None:
            if len(self.sessions) >= _OPEN_DATABASES:
                self.sessions.pop(next(iter(self.sessions))).connection.close()
            session = Session(uri, self.limits)
        self.sessions[key] = session
        return session

    def _prepare_gold(self, session: Session, gold: tuple[bytes, str, bytes | None, int], wanted: bool) -> bool:
        key, sql, blob, steps = gold
        if not wanted and self.gold is not None and self.gold.key == key:
            return True
        if not wanted and blob is not None:
            self.gold = GoldRows(key, marshal.loads(blob), steps)
            return True
        run = Run(session, None, True)
        run.execute(sql)
        steps = session.meter.ticks * PERIOD
        ran = run.outcome in ("rows", "empty")
        if ran:
            self.gold = GoldRows(key, run.rows, steps)
        if wanted:
            blob = pack(run.rows) if ran else None
            send((run.execution(), None, (blob if blob and len(blob) <= MAX_GOLD_BLOB else None, steps)))
        if run.exhausted and wanted:
            os._exit(RECYCLED)
        return ran

    def _answer(self, session: Session, sql: str, gold: GoldRows | None, full: bool, lost: bool) -> None:
        if lost and not full:
            send((None, GOLD_UNAVAILABLE, None))
            return
        run = Run(session, gold, full)
        run.execute(sql)
        if full:
            run.look_again(sql)
        send((run.execution() if full else None, GOLD_UNAVAILABLE if lost else run.judgement(), None))
        if run.exhausted:
            os._exit(RECYCLED)


def main() -> None:
    """Read the limits, confine the process, and work."""
    head = read_exactly(4)
    body = read_exactly(int.from_bytes(head, "little")) if head else None
    if body is None:
        return
    limits = WireLimits(*marshal.loads(body))
    confine(limits)
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        SqlWorker(limits).work()
