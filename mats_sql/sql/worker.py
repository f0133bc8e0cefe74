"""The process that runs untrusted SQL: started as a script by :mod:`mats_sql.sql.pool`, standard library only.

It speaks frames (four bytes of length, then ``marshal``) over one socket, its standard input. It holds no state that
can change an answer: connections are read-only and immutable, and each SQL has its own count of virtual-machine steps.

A judgement made here is a function of database, gold, SQL and limits alone. It is *wrong* from the first fetched row
that is not among gold's rows: every reading is wrong then, whatever the rest of the result would have been.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import resource
import signal
import sqlite3
import time
from collections import Counter
from typing import NamedTuple

PERIOD = 10_000
"""Virtual-machine steps between two calls of the progress handler."""
RECYCLED = 3
"""Exit code of a worker that answered, and wants a fresh process because memory ran out."""
GRACE_S = 2.0
"""How long after the wall-clock deadline the kernel ends a worker that is stuck inside one opcode."""
MAX_GOLD_BLOB = 64 * 1024 * 1024
MAX_PREVIEW_TEXT = 1000
MAX_ERROR_TEXT = 500

_READING = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
_DENIED_FUNCTIONS = frozenset(("load_extension", "fts3_tokenizer", "sqlite_log"))
_DENIED_TABLES = frozenset(("sqlite_stmt", "pragma_database_list"))
_ARGUMENT_PRAGMAS = frozenset("foreign_key_list index_info index_list index_xinfo table_info table_xinfo".split())
_SCHEMA_PRAGMAS = _ARGUMENT_PRAGMAS | frozenset(
    "collation_list compile_options function_list module_list pragma_list table_list".split()
)
_VALUE_PRAGMAS = frozenset(
    "application_id encoding freelist_count page_count page_size schema_version user_version".split()
)
_WARM_TABLES = ("json_each('[]')", "json_tree('[]')", *(f"pragma_{name}('')" for name in sorted(_ARGUMENT_PRAGMAS)),
                *(f"pragma_{name}" for name in sorted((_SCHEMA_PRAGMAS | _VALUE_PRAGMAS) - _ARGUMENT_PRAGMAS)))
"""Table-valued functions: SQLite declares each on first use, by an inner CREATE TABLE that the guard would refuse."""
_DAMAGED = frozenset(
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
)
_FAILURES = (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError, OverflowError)

Row = tuple[object, ...]
Verdicts = tuple[str, str, str, str]
"""Official, multiset and ordered verdict, and the execution outcome the judge saw."""
GOLD_UNAVAILABLE: Verdicts = ("gold_unavailable", "gold_unavailable", "gold_unavailable", "error")


class Limits(NamedTuple):
    """The bounds on one execution, as sent by the parent."""

    timeout_s: float
    max_steps: int
    max_rows: int
    max_result_bytes: int
    memory_mib: int
    preview_rows: int
    max_value_bytes: int
    max_sql_bytes: int
    judge_min_steps: int
    judge_steps_per_gold_step: int
    judge_steps_per_page: int


class GoldRows:
    """Gold's result in memory: its rows in order, and as a set."""

    __slots__ = ("distinct", "key", "rows", "steps")

    def __init__(self, key: bytes, rows: list[Row], steps: int) -> None:
        self.key, self.rows, self.steps = key, rows, steps
        self.distinct = frozenset(rows)


class DatabaseDamaged(Exception):
    """The database file cannot be read; no verdict may come of it."""


class _TooBig(Exception):
    """A result has more rows or bytes than the limits allow."""


class Meter:
    """Counts a statement's virtual-machine steps in periods; stops it at its budget or at the wall-clock deadline."""

    __slots__ = ("deadline", "limit", "reason", "ticks")

    def __init__(self) -> None:
        self.ticks, self.limit, self.deadline, self.reason = 0, 0, 0.0, ""

    def start(self, max_steps: int, timeout_s: float) -> None:
        """Begin to count a new statement."""
        self.ticks, self.limit, self.reason = 0, max_steps // PERIOD, ""
        self.deadline = time.monotonic() + timeout_s

    def tick(self) -> int:
        """Return non-zero when the statement must stop; SQLite calls this every ``PERIOD`` steps."""
        self.ticks += 1
        if self.ticks > self.limit:
            self.reason = "more virtual-machine steps than allowed"
        elif time.monotonic() > self.deadline:
            self.reason = "more time than allowed"
        else:
            return 0
        return 1


class Guard:
    """The authorizer: reading is allowed, everything else is refused and remembered."""

    __slots__ = ("refused",)

    def __init__(self) -> None:
        self.refused = ""

    def __call__(self, action: int, first: str | None, second: str | None, _db: str | None, _by: str | None) -> int:
        if action in _READING:
            allowed = first not in _DENIED_TABLES
        elif action == sqlite3.SQLITE_FUNCTION:
            allowed = (second or "").lower() not in _DENIED_FUNCTIONS
        elif action == sqlite3.SQLITE_PRAGMA:
            name = (first or "").lower()
            allowed = name in _SCHEMA_PRAGMAS or (name in _VALUE_PRAGMAS and second is None)
        else:
            allowed = False
        if allowed:
            return sqlite3.SQLITE_OK
        self.refused = f"only reading is allowed (action {action}: {first or second or 'statement'})"
        return sqlite3.SQLITE_DENY


class Session:
    """One connection with its guard and meter."""

    def __init__(self, uri: str, limits: Limits) -> None:
        self.guard, self.meter, self.limits = Guard(), Meter(), limits
        self.connection = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=0)
        try:
            for pragma in ("query_only=ON", "temp_store=MEMORY", "cache_size=-32768"):
                self.connection.execute(f"PRAGMA {pragma}")
            self.connection.execute(f"PRAGMA hard_heap_limit={limits.memory_mib * 1024 * 1024 // 2}").close()
            self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self.pages: int = self.connection.execute("PRAGMA page_count").fetchone()[0]
            for table in _WARM_TABLES:
                self.connection.execute(f"SELECT 1 FROM {table} LIMIT 0").close()
        except sqlite3.Error as error:
            raise DatabaseDamaged(str(error)) from None
        for limit, value in _sqlite_limits(limits):
            self.connection.setlimit(limit, value)
        self.connection.set_authorizer(self.guard)
        self.connection.set_progress_handler(self.meter.tick, PERIOD)

    def damaged(self) -> bool:
        """Whether SQLite itself finds the file damaged (and not merely the SQL odd)."""
        self.connection.set_authorizer(None)
        self.meter.start(self.limits.max_steps, self.limits.timeout_s)
        try:
            return bool(self.connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
        except sqlite3.Error:
            return True
        finally:
            self.connection.set_authorizer(self.guard)


def _sqlite_limits(limits: Limits) -> tuple[tuple[int, int], ...]:
    return (
        (sqlite3.SQLITE_LIMIT_LENGTH, limits.max_value_bytes),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, limits.max_sql_bytes),
        (sqlite3.SQLITE_LIMIT_COLUMN, 2000),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 1000),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 500),
        (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 127),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50_000),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 10),
        (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
    )


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
        self.digests = ("", "")

    def execute(self, sql: str) -> None:
        """Run ``sql`` within the limits; afterwards ``outcome`` and ``verdict`` are set."""
        meter, guard = self.session.meter, self.session.guard
        guard.refused = ""
        started = time.monotonic()
        meter.start(self.limits.max_steps if self.full else self._judge_steps(), self.limits.timeout_s)
        signal.setitimer(signal.ITIMER_REAL, self.limits.timeout_s + GRACE_S)
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
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        self.elapsed_s = time.monotonic() - started
        if self.full and self.outcome in ("rows", "empty"):
            self._digest()

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
                if self.gold is not None and not self.verdict and not self._compare(self.gold, chunk):
                    if not self.full:
                        return
                if self.full or self._may_match():
                    self.rows += chunk
                elif self.rows:
                    self.rows = []
                self._bound(chunk)
                size = min(size * 2, 1024)
        if self.gold is not None and not self.verdict and self._over_budget():
            self.verdict = "timeout"

    def _compare(self, gold: GoldRows, chunk: list[Row]) -> bool:
        """Take a chunk into the comparison; return ``False`` once the verdict is certain."""
        if self._over_budget():
            self.verdict = "timeout"
            return False
        before = self.count - len(chunk)
        if self.aligned:
            if gold.rows[before : self.count] == chunk:
                return True
            self.aligned = False
            self.seen.update(gold.rows[:before])
            if not self.full:
                self.rows = gold.rows[:before]
        if not gold.distinct.issuperset(chunk):
            self.verdict = "wrong"
            return False
        self.seen.update(chunk)
        return True

    def _may_match(self) -> bool:
        return self.gold is not None and not self.aligned and self.count <= len(self.gold.rows)

    def _bound(self, chunk: list[Row]) -> None:
        self.bytes += len(marshal.dumps(chunk, 2))
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
        elif code in _DAMAGED and self.session.damaged():
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
        if self.outcome not in ("rows", "empty"):
            return (self.outcome, (), (), 0, "", "", self.error, self.elapsed_s)
        preview = tuple(_short(row) for row in self.rows[: self.limits.preview_rows])
        return (self.outcome, self.columns, preview, self.count, *self.digests, "", self.elapsed_s)


def digest_rows(rows: list[Row]) -> tuple[str, str]:
    """Return the digest of the set of rows and that of the sequence of rows.

    Rows that Python holds equal (1 and 1.0, -0.0 and 0) have one spelling: ``repr`` with whole floats as integers.
    """
    ordered = [repr(_canonical(row)) for row in rows]
    return _digest(sorted(set(ordered))), _digest(ordered)


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


class Worker:
    """The loop: a job is a database, perhaps a gold, and SQL; the answers go out one by one, in order."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sessions: dict[tuple[str, str], Session] = {}
        self.gold: GoldRows | None = None

    def work(self) -> None:
        """Answer jobs until the parent closes the socket."""
        while (job := receive()) is not None:
            uri, identity, full, gold, wants_gold, sqls = job
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
            if len(self.sessions) >= 8:
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
            blob = marshal.dumps(run.rows, 2) if ran else None
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
        send((run.execution() if full else None, GOLD_UNAVAILABLE if lost else run.judgement(), None))
        if run.exhausted:
            os._exit(RECYCLED)


def receive() -> tuple[str, str, bool, tuple[bytes, str, bytes | None, int] | None, bool, list[str]] | None:
    """Return the parent's next frame, or ``None`` once the socket is closed."""
    head = _read_exactly(4)
    if head is None:
        return None
    body = _read_exactly(int.from_bytes(head, "little"))
    return None if body is None else marshal.loads(body)


def _read_exactly(size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def send(message: tuple[object, ...]) -> None:
    """Write one frame to the parent."""
    body = marshal.dumps(message, 2)
    view = memoryview(len(body).to_bytes(4, "little") + body)
    while view:
        view = view[os.write(0, view) :]


def confine(limits: Limits) -> None:
    """Bound this process: address space, no file writing, no core dumps, death by the timer's signal."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    space = limits.memory_mib * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Read the limits, confine the process, say that it is ready, and work."""
    head = _read_exactly(4)
    body = _read_exactly(int.from_bytes(head, "little")) if head else None
    if body is None:
        return
    limits = Limits(*marshal.loads(body))
    confine(limits)
    send(("ready", "", sqlite3.sqlite_version))
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        Worker(limits).work()


if __name__ == "__main__":
    main()
