"""Run one SQL and compare what it gives with gold, row by row.

A judgement made here is a function of database, gold, SQL and limits alone. It is *wrong* from the first fetched row
that is not among gold's rows: every reading is wrong then, whatever the rest of the result would have been. Standard
library only, for the worker's sake.
"""

from __future__ import annotations

import contextlib
import hashlib
import signal
import sqlite3
import time
from collections import Counter

from mats_sql.sql.sandbox.confinement import DAMAGED, PERIOD, DatabaseDamaged, Session
from mats_sql.sql.sandbox.nearest import Nearest
from mats_sql.sql.sandbox.protocol import GRACE_S, Row, Verdicts, pack

MAX_PREVIEW_TEXT = 1000
"""Characters (or bytes) of a value that a preview keeps."""
MAX_ERROR_TEXT = 500
NEAREST_STEPS = 25_000_000
"""Virtual-machine steps of one look for nearest values, or of a SQL run with the nearest name: half a second or so."""
_FAILURES = (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError, OverflowError)


class GoldRows:
    """Gold's result in memory: its rows in order, and as a set."""

    __slots__ = ("distinct", "key", "rows", "steps")

    def __init__(self, key: bytes, rows: list[Row], steps: int) -> None:
        self.key, self.rows, self.steps = key, rows, steps
        self.distinct = frozenset(rows)


class _TooBig(Exception):
    """A result has more rows or bytes than the limits allow."""


class Run:
    """One SQL from first row to answer: the execution when asked for, the verdicts when gold is given."""

    def __init__(self, session: Session, gold: GoldRows | None, full: bool) -> None:
        self.session, self.gold, self.full = session, gold, full
        self.limits = session.limits
        self.columns: tuple[str, ...] = ()
        self.rows: list[Row] = []
        self.count = self.bytes = 0
        self.seen: set[Row] = set()
        self.aligned = gold is not None
        self.verdict = ""
        self.outcome, self.error, self.exhausted = "", "", False
        self.elapsed_s = 0.0
        self.digests = ("", "", "")
        self.nearest: tuple[Nearest, ...] = ()
        self.retried: tuple[object, ...] | None = None
        self.tried = ""

    def execute(self, sql: str) -> None:
        """Run ``sql`` within the limits; afterwards ``outcome`` and ``verdict`` are set."""
        meter, guard = self.session.meter, self.session.guard
        guard.refused = ""
        started = time.monotonic()
        meter.start(self.limits.max_steps if self.full else self._judge_steps(), self.limits.timeout_s)
        signal.setitimer(signal.ITIMER_PROF, self.limits.timeout_s + GRACE_S)
        try:
            self._read(sql)
            self.outcome = "rows" if self.count else "empty"
        except MemoryError:
            self._exhaust()
        except _TooBig as error:
            self.outcome, self.error = "too_big", str(error)
        except _FAILURES as error:
            self._classify(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
        self.elapsed_s = time.monotonic() - started
        if self.full and self.outcome in ("rows", "empty"):
            self._digest()

    def look_again(self, sql: str) -> None:
        """Look for what is nearest to what a ``sql`` that ran or failed has and the database has not.

        An error that misses a column or a table goes on with those most like it, and with what the SQL answers with the
        first of them, as often as the limits allow; the last answer goes on with the values nearest to what no row has.

        A look within bounds of its own, under the same guard; when it fails or exceeds them, nothing is named.
        """
        if self.outcome not in ("rows", "empty", "error") or not self.limits.nearest_values:
            return
        try:
            stored = self.session.stored_values()
            self._start_look()
            if self.outcome == "error":
                self.error, again = stored.way_out(sql, self.error, self.limits.nearest_values)
                if again is not None and self.limits.nearest_retries:
                    self._retry(again)
            if self.retried is None:
                self._start_look()
                self.nearest = stored.nearest(sql, self.limits.nearest_values, failed=self.outcome == "error")
        except MemoryError:
            self.exhausted = True
        except _FAILURES:
            self.nearest = ()

    def _start_look(self) -> None:
        self.session.meter.start(min(NEAREST_STEPS, self.limits.max_steps), self.limits.timeout_s)

    def _retry(self, sql: str) -> None:
        """Run the SQL with the nearest name in place; an answer that is neither rows nor an error tells nothing."""
        run = Run(self.session, None, True)
        run.limits = self.limits._replace(
            max_steps=min(NEAREST_STEPS, self.limits.max_steps), nearest_retries=self.limits.nearest_retries - 1
        )
        run.execute(sql)
        run.look_again(sql)
        run.elapsed_s = 0.0
        self.exhausted = run.exhausted
        if run.outcome in ("rows", "empty", "error"):
            self.retried, self.tried = run.execution(), sql

    def _digest(self) -> None:
        try:
            self.digests = digest_rows(self.rows)
        except MemoryError:
            self._exhaust()

    def _exhaust(self) -> None:
        self.outcome, self.error, self.exhausted = "too_big", "out of memory", True

    def _read(self, sql: str) -> None:
        if len(sql) > self.limits.max_sql_bytes:
            raise _TooBig(f"SQL longer than {self.limits.max_sql_bytes} bytes")
        with contextlib.closing(self.session.connection.execute(sql)) as cursor:
            if self.full:
                self.columns = tuple(column[0] for column in cursor.description or ())
            size = 32
            while chunk := cursor.fetchmany(size):
                self.count += len(chunk)
                if self.gold is not None and not self.verdict:
                    self._compare(self.gold, chunk)
                if self.verdict and not self.full:
                    return
                if self.full or self._may_match():
                    self.rows += chunk
                elif self.rows:
                    self.rows = []
                self._bound(chunk)
                size = min(size * 2, 1024)
        if self.gold is not None and not self.verdict and self._over_budget():
            self.verdict = "timeout"

    def _compare(self, gold: GoldRows, chunk: list[Row]) -> None:
        """Take a chunk into the comparison; set the verdict once it is certain."""
        if self._over_budget():
            self.verdict = "timeout"
            return
        before = self.count - len(chunk)
        if self.aligned:
            if gold.rows[before : self.count] == chunk:
                return
            self.aligned = False
            self.seen.update(gold.rows[:before])
            if not self.full:
                self.rows = gold.rows[:before]
        if gold.distinct.issuperset(chunk):
            self.seen.update(chunk)
        else:
            self.verdict = "wrong"

    def _may_match(self) -> bool:
        return self.gold is not None and not self.aligned and self.count <= len(self.gold.rows)

    def _bound(self, chunk: list[Row]) -> None:
        self.bytes += len(pack(chunk))
        if self.count > self.limits.max_rows:
            raise _TooBig(f"more than {self.limits.max_rows} rows")
        if self.bytes > self.limits.max_result_bytes:
            raise _TooBig(f"more than {self.limits.max_result_bytes} bytes")

    def _judge_steps(self) -> int:
        if self.gold is None:
            return self.limits.max_steps
        by_gold = self.gold.steps * self.limits.judge_steps_per_gold_step
        by_size = self.session.pages * self.limits.judge_steps_per_page
        return min(self.limits.max_steps, max(self.limits.judge_min_steps, by_gold, by_size))

    def _over_budget(self) -> bool:
        return self.full and self.session.meter.ticks > self._judge_steps() // PERIOD

    def _classify(self, error: Exception) -> None:
        meter, guard = self.session.meter, self.session.guard
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        self.error = " ".join(str(error).split())[:MAX_ERROR_TEXT]
        if guard.refused or code == sqlite3.SQLITE_READONLY:
            self.outcome, self.error = "refused", guard.refused or self.error
        elif meter.reason:
            self.outcome, self.error = "timeout", meter.reason
        elif code == sqlite3.SQLITE_TOOBIG:
            self.outcome = "too_big"
        elif code in (sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT):
            self.outcome, self.exhausted = "too_big", True
        elif code in DAMAGED and self.session.damaged():
            raise DatabaseDamaged(self.error) from None
        else:
            self.outcome = "error"

    def judgement(self) -> Verdicts | None:
        """Return the verdicts, or ``None`` without gold."""
        if self.gold is None:
            return None
        if self.verdict:
            seen = "timeout" if self.verdict == "timeout" else "rows"
            return (self.verdict, self.verdict, self.verdict, seen)
        if self.outcome not in ("rows", "empty"):
            return (self.outcome, self.outcome, self.outcome, self.outcome)
        official, multiset, ordered = self._readings(self.gold)
        return (_word(official), _word(multiset), _word(ordered), self.outcome)

    def _readings(self, gold: GoldRows) -> tuple[bool, bool, bool]:
        if self.aligned:
            same = self.count == len(gold.rows)
            return same or len(set(gold.rows[: self.count])) == len(gold.distinct), same, same
        if len(self.seen) != len(gold.distinct):
            return False, False, False
        if self.count != len(gold.rows):
            return True, False, False
        ordered = self.rows == gold.rows
        return True, ordered or Counter(self.rows) == Counter(gold.rows), ordered

    def execution(self) -> tuple[object, ...]:
        """Return the execution as plain values, in the order of :class:`mats_sql.sql.execution.Execution`."""
        looked = (tuple(map(tuple, self.nearest)), self.retried, self.tried)
        if self.outcome not in ("rows", "empty"):
            return (self.outcome, (), (), 0, "", "", self.error, self.elapsed_s, "", *looked)
        preview = tuple(_short(row) for row in self.rows[: self.limits.preview_rows])
        unordered, ordered, multiset = self.digests
        return (
            self.outcome, self.columns, preview, self.count, unordered, ordered, "", self.elapsed_s, multiset, *looked
        )  # fmt: skip


def digest_rows(rows: list[Row]) -> tuple[str, str, str]:
    """Return the digests of the set, the sequence and the multiset of rows.

    Rows that Python holds equal (1 and 1.0, -0.0 and 0) have one spelling: ``repr`` with whole floats as integers.
    """
    lines = [repr(_canonical(row)) for row in rows]
    return digest_lines(lines)


def digest_lines(lines: list[str]) -> tuple[str, str, str]:
    """Return the digests of rows that are spelled already, each without a newline."""
    ordered = _digest(lines)
    arranged = sorted(lines)
    distinct = sorted(set(lines))
    multiset = _digest(arranged)
    return multiset if len(distinct) == len(arranged) else _digest(distinct), ordered, multiset


def _canonical(row: Row) -> Row:
    if float not in map(type, row):
        return row
    return tuple(int(value) if type(value) is float and value.is_integer() else value for value in row)


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass") + b"%d" % len(lines)).hexdigest()


def _short(row: Row) -> Row:
    return tuple(value[:MAX_PREVIEW_TEXT] if isinstance(value, str | bytes) else value for value in row)


def _word(same: bool) -> str:
    return "correct" if same else "wrong"
