"""The bounds that untrusted SQL runs within: the process's, the connection's, and the statement's.

Standard library only, for the worker's sake.
"""

from __future__ import annotations

import resource
import signal
import sqlite3
import time

from mats_sql.sql.sandbox.nearest import StoredValues
from mats_sql.sql.sandbox.protocol import WireLimits

PERIOD = 10_000
"""Virtual-machine steps between two calls of the progress handler."""

_READING = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
_DENIED_FUNCTIONS = frozenset(("load_extension", "fts3_tokenizer", "sqlite_log"))
_DENIED_TABLES = frozenset(("sqlite_stmt", "pragma_database_list"))
_ARGUMENT_PRAGMAS = frozenset(
    ("foreign_key_list", "index_info", "index_list", "index_xinfo", "table_info", "table_xinfo")
)
_SCHEMA_PRAGMAS = _ARGUMENT_PRAGMAS | frozenset(
    ("collation_list", "compile_options", "function_list", "module_list", "pragma_list", "table_list")
)
_VALUE_PRAGMAS = frozenset(
    ("application_id", "encoding", "freelist_count", "page_count", "page_size", "schema_version", "user_version")
)
_WARM_TABLES = (
    "json_each('[]')",
    "json_tree('[]')",
    *(f"pragma_{name}('')" for name in sorted(_ARGUMENT_PRAGMAS)),
    *(f"pragma_{name}" for name in sorted((_SCHEMA_PRAGMAS | _VALUE_PRAGMAS) - _ARGUMENT_PRAGMAS)),
)
"""Table-valued functions: SQLite declares each on first use, by an inner CREATE TABLE that the guard would refuse."""
DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN))


class DatabaseDamaged(Exception):
    """The database file cannot be read; no verdict may come of it."""


class Meter:
    """Counts a statement's virtual-machine steps in periods; stops it at its budget, or at its deadline.

    The deadline is on the process's CPU clock: a worker that waits for a busy machine does not use up its time.
    """

    __slots__ = ("deadline", "limit", "reason", "ticks")

    def __init__(self) -> None:
        self.ticks, self.limit, self.deadline, self.reason = 0, 0, 0.0, ""

    def start(self, max_steps: int, timeout_s: float) -> None:
        """Begin to count a new statement."""
        self.ticks, self.limit, self.reason = 0, max_steps // PERIOD, ""
        self.deadline = time.process_time() + timeout_s

    def tick(self) -> int:
        """Return non-zero when the statement must stop; SQLite calls this every ``PERIOD`` steps."""
        self.ticks += 1
        if self.ticks > self.limit:
            self.reason = "more virtual-machine steps than allowed"
        elif time.process_time() > self.deadline:
            self.reason = "more CPU time than allowed"
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

    def __init__(self, uri: str, limits: WireLimits) -> None:
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
        self._stored: StoredValues | None = None

    def stored_values(self) -> StoredValues:
        """Return the look-up of stored values, its schema read once; that reading is on no statement's account."""
        if self._stored is None:
            self.meter.start(self.limits.max_steps, self.limits.timeout_s)
            self._stored = StoredValues(self.connection)
        return self._stored

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


def _sqlite_limits(limits: WireLimits) -> tuple[tuple[int, int], ...]:
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


def confine(limits: WireLimits) -> None:
    """Bound this process: address space, no file writing, no core dumps, death by the timer's signal."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGPROF,))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    space = limits.memory_mib * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
