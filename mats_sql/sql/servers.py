"""The executor's interface on PostgreSQL, MySQL and MariaDB, through SQLAlchemy.

What is covered. Every SQL runs alone in a read-only transaction that is always rolled back, under the server's
statement timeout; a timer cancels the statement on the server when the whole execution takes longer. On PostgreSQL the
SQL travels as a parameter to a function that opens a cursor for it, so that a text of several statements cannot leave
its transaction. On MySQL and MariaDB the driver sends one statement at a time, only a text that begins by reading and
holds no executable comment is run, and the session ends with its SQL, so that no temporary table, variable or lock
reaches the next one. Rows and bytes are bounded as on SQLite; results are read a few rows at a time.

What is not covered. The server runs the SQL with the rights of the URL's user: give one that may only read, and no file
or superuser rights. There is no bound on virtual-machine steps or on the server's memory, and some rows of enormous
values are in this process's memory before they are found too big. The time limit is one of wall-clock time, so a busy
server can turn a verdict into a timeout. Verdicts are not kept on disk, as a server's content has no digest. A password
appears in no message, but an address given on a command line can be read by the machine's other users: leave the
password to ``PGPASSWORD`` or ``~/.pgpass`` where that matters. The tests run PostgreSQL and MariaDB; of MySQL, what it
shares with MariaDB: all but its statement timeout.
"""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from sqlalchemy import URL, Connection, CursorResult, Engine, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mats_sql.config import SqlLimits
from mats_sql.errors import DatabaseError
from mats_sql.sql.address import read_address, shown
from mats_sql.sql.execution import Execution, Outcome, Value
from mats_sql.sql.executor import SqlRequest
from mats_sql.sql.sandbox.run import MAX_ERROR_TEXT, MAX_PREVIEW_TEXT, digest_lines

_WINDOW = 1024
_CONNECT_TIMEOUT_S = 10
_FIRST_CHUNK, _LAST_CHUNK = 8, 512
# Atomic: a comment ends at its first end, and never reaches over SQL to the end of another one.
_GAP = r"(?>\s|--[^\n]*\n|#[^\n]*\n|/\*.*?\*/)"
_READS = re.compile(rf"(?:{_GAP}|\()*+(?:select|with|values|table|show|explain|desc|describe)\b", re.I | re.S)
# Looked for in strings too: refusing a text for nothing is better than writing a file.
_WRITES_A_FILE = re.compile(rf"\binto{_GAP}*+(?:outfile|dumpfile|@)", re.I | re.S)
_EXECUTABLE_COMMENT = re.compile(r"/\*M?!")
_OPEN_CURSOR = """
CREATE OR REPLACE FUNCTION pg_temp.mats_open(query text) RETURNS refcursor LANGUAGE plpgsql AS
$$ DECLARE opened refcursor := 'mats'; BEGIN OPEN opened NO SCROLL FOR EXECUTE query; RETURN opened; END $$
"""


class ServerExecutor:
    """Executes SQL on a database server; a request's database names the database there.

    ``address`` is SQLAlchemy's URL, as :func:`read_address` takes it. For a MySQL or MariaDB on the same machine end it
    with ``?ssl_disabled=true``: PyMySQL otherwise loads all certificates for every SQL, 20 ms. Raises
    :class:`~mats_sql.errors.DatabaseError` when a server cannot be reached.
    """

    def __init__(self, address: str, limits: SqlLimits, workers: int) -> None:
        self.address, self.limits, self._workers = read_address(address), limits, workers
        self._engines: dict[str, Engine] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()

    def execute_many(self, requests: Iterable[SqlRequest]) -> Iterator[Execution]:
        """Yield one execution per request, in request order."""
        stream = iter(requests)
        with ThreadPoolExecutor(self._workers) as threads:
            while window := list(islice(stream, _WINDOW)):
                engines = [self.engine(request.database.name) for request in window]
                yield from threads.map(self._execute, engines, (request.sql for request in window))

    def identity(self, database: Path) -> str:
        """Return what a database is called and which server has it: its content has no digest."""
        engine = self.engine(database.name)
        with self.connect(engine):
            version = ".".join(map(str, engine.dialect.server_version_info or ()))
        return f"{shown(engine.url)} ({engine.dialect.name} {version})"

    def engine(self, database: str) -> Engine:
        """Return the engine of one of the server's databases."""
        if database not in self._engines:
            given = "connect_timeout" in self.address.query
            self._engines[database] = create_engine(
                self.address.set(database=database),
                pool_size=self._workers,
                pool_pre_ping=True,
                connect_args={} if given else {"connect_timeout": _CONNECT_TIMEOUT_S},
            )
        return self._engines[database]

    def connect(self, engine: Engine) -> Connection:
        """Return an open connection; raises :class:`~mats_sql.errors.DatabaseError` when there can be none."""
        try:
            return engine.connect()
        except (SQLAlchemyError, TypeError) as error:  # a TypeError: an option that the driver does not know
            problem = error_line(error, engine.url)
            raise DatabaseError(
                f"the database server must be reachable, but {shown(engine.url)}: {problem}; check the address"
            ) from None

    def _execute(self, engine: Engine, sql: str) -> Execution:
        dialect = _DIALECTS[engine.dialect.name]
        with self.connect(engine) as connection:
            dialect.prepare(connection, self.limits.timeout_s)
            cancel = dialect.canceller(engine, connection)
            started = time.monotonic()
            timer = threading.Timer(self.limits.timeout_s, cancel)
            timer.start()
            try:
                execution = _Reader(self.limits).read(dialect.rows(connection, sql, cancel))
            except (DBAPIError, _RefusedError, ValueError) as error:
                execution = Execution(dialect.outcome(error), error=_line(error))
            finally:
                elapsed_s = time.monotonic() - started
                timer.cancel()
                timer.join()
                dialect.abandon(connection)
            return self._timed(execution, elapsed_s)

    def _timed(self, execution: Execution, elapsed_s: float) -> Execution:
        """Set the time; MySQL's ``SLEEP`` gives a row instead of an error when it is interrupted."""
        if execution.ran and elapsed_s >= self.limits.timeout_s:
            return Execution(Outcome.TIMEOUT, error="stopped at the time limit", elapsed_s=elapsed_s)
        return replace(execution, elapsed_s=elapsed_s)


@contextmanager
def in_reading_transaction(executor: ServerExecutor) -> Iterator[Connection]:
    """Open a transaction on the executor's own database that can read and nothing else, and roll it back."""
    engine = executor.engine(str(executor.address.database))
    with executor.connect(engine) as connection:
        dialect = _DIALECTS[engine.dialect.name]
        dialect.prepare(connection, executor.limits.timeout_s)
        try:
            yield connection
        finally:
            dialect.abandon(connection)


def error_line(error: Exception, url: URL) -> str:
    """Return a driver's error as one line without the address's secrets."""
    return _without_secrets(_line(error), url)


class _RefusedError(Exception):
    """The SQL would do more than read."""


@dataclass(slots=True)
class _Reader:
    """Reads a result within the limits."""

    limits: SqlLimits

    def read(self, chunks: Iterator[tuple[tuple[str, ...], Sequence[Sequence[object]]]]) -> Execution:
        columns: tuple[str, ...] = ()
        lines: list[str] = []
        preview: list[tuple[Value, ...]] = []
        size = 0
        for names, rows in chunks:
            columns = names
            for row in rows:
                canonical = tuple(map(_canonical, row))
                lines.append(repr(canonical))
                size += len(lines[-1])
                if len(preview) < self.limits.preview_rows:
                    preview.append(tuple(map(_shown, row)))
            if len(lines) > self.limits.max_rows or size > self.limits.max_result_bytes:
                return Execution(Outcome.TOO_BIG, error="more rows or bytes than allowed")
        digest, ordered, multiset = digest_lines(lines)
        outcome = Outcome.ROWS if lines else Outcome.EMPTY
        return Execution(outcome, columns, tuple(preview), len(lines), digest, ordered, multiset_digest=multiset)


def _canonical(value: object) -> object:
    """Return one spelling for values that Python holds equal: 1, 1.0, True and Decimal('1.00')."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Decimal) and value.is_finite():
        if value == value.to_integral_value():
            return int(value)
        return float(value) if Decimal(float(value)) == value else value.normalize()
    return value


def _shown(value: object) -> Value:
    value = _canonical(value)
    if isinstance(value, str | bytes):
        return value[:MAX_PREVIEW_TEXT]
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)[:MAX_PREVIEW_TEXT]


def _line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:MAX_ERROR_TEXT]


def _without_secrets(text: str, url: URL) -> str:
    """Blot out whatever the address holds besides its visible part, should a driver repeat it."""
    for secret in (url.password, *url.normalized_query.get("password", ()), *url.normalized_query.get("passwd", ())):
        if secret:
            text = text.replace(str(secret), "***")
    return text


def _chunk_sizes() -> Iterator[int]:
    """Yield the rows to fetch next: few at first, so that enormous values are found out early."""
    size = _FIRST_CHUNK
    while True:
        yield size
        size = min(2 * size, _LAST_CHUNK)


Rows = Iterator[tuple[tuple[str, ...], Sequence[Sequence[object]]]]
Cancel = Callable[[], None]


class _Dialect(Protocol):
    """What differs between servers."""

    def prepare(self, connection: Connection, timeout_s: float) -> None: ...
    def canceller(self, engine: Engine, connection: Connection) -> Cancel: ...
    def rows(self, connection: Connection, sql: str, cancel: Cancel) -> Rows: ...
    def outcome(self, error: Exception) -> Outcome: ...
    def abandon(self, connection: Connection) -> None: ...


class _PostgreSql:
    """A read-only transaction; the SQL goes to the server as a parameter of a cursor-opening function."""

    _OUTCOMES: ClassVar = {
        "57014": Outcome.TIMEOUT,
        "25006": Outcome.REFUSED,
        "42501": Outcome.REFUSED,
        "53200": Outcome.TOO_BIG,
        "54000": Outcome.TOO_BIG,
    }

    def prepare(self, connection: Connection, timeout_s: float) -> None:
        connection.exec_driver_sql(_OPEN_CURSOR)
        connection.commit()
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, int(timeout_s * 1000))}")

    def canceller(self, _engine: Engine, connection: Connection) -> Cancel:
        driver = connection.connection.driver_connection
        assert driver is not None
        return driver.cancel  # type: ignore[no-any-return]

    def rows(self, connection: Connection, sql: str, _cancel: Cancel) -> Rows:
        connection.exec_driver_sql("SELECT pg_temp.mats_open(%s)", (sql,))
        for size in _chunk_sizes():
            result = connection.exec_driver_sql(f"FETCH FORWARD {size} FROM mats")
            rows = result.fetchall()
            yield tuple(result.keys()), rows
            if len(rows) < size:
                return

    def outcome(self, error: Exception) -> Outcome:
        state = getattr(getattr(error, "orig", None), "pgcode", None)
        if state == "42P11":  # "cannot open INSERT query as cursor", "cannot open multi-query plan as cursor"
            return Outcome.ERROR if "multi-query" in str(error) else Outcome.REFUSED
        return self._OUTCOMES.get(state or "", Outcome.ERROR)

    def abandon(self, connection: Connection) -> None:
        try:
            connection.rollback()
            if not connection.invalidated:
                connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
                connection.rollback()
        except DBAPIError:  # a cancel that comes late
            connection.invalidate()


class _MySql:
    """A read-only transaction and the server's statement timeout; cancelled by ``KILL QUERY`` from another connection.

    MySQL's timeout is ``max_execution_time`` (milliseconds, for SELECT alone), MariaDB's ``max_statement_time``
    (seconds). SQLAlchemy knows the two apart by the version that the server gives.
    """

    _OUTCOMES: ClassVar = {
        1317: Outcome.TIMEOUT,  # KILL QUERY
        1969: Outcome.TIMEOUT,  # MariaDB's statement timeout
        3024: Outcome.TIMEOUT,  # MySQL's
        **dict.fromkeys((1044, 1142, 1143, 1227, 1370), Outcome.REFUSED),  # no right to it
        1290: Outcome.REFUSED,  # an option of the server forbids it
        1295: Outcome.REFUSED,  # cannot be prepared
        1792: Outcome.REFUSED,  # in a read-only transaction
        **dict.fromkeys((1038, 1104, 1114, 1153), Outcome.TOO_BIG),  # sort memory, join size, full table, packet
    }

    def prepare(self, connection: Connection, timeout_s: float) -> None:
        if getattr(connection.dialect, "is_mariadb", False):
            timeout = f"max_statement_time = {max(0.001, timeout_s):f}"
        else:
            timeout = f"max_execution_time = {max(1, int(timeout_s * 1000))}"
        connection.exec_driver_sql(f"SET SESSION {timeout}")
        connection.commit()
        connection.exec_driver_sql("START TRANSACTION READ ONLY")

    def canceller(self, engine: Engine, connection: Connection) -> Cancel:
        identity = int(connection.exec_driver_sql("SELECT connection_id()").scalar_one())

        def cancel() -> None:
            with suppress(SQLAlchemyError), engine.connect() as other:
                other.exec_driver_sql(f"KILL QUERY {identity}")

        return cancel

    def rows(self, connection: Connection, sql: str, cancel: Cancel) -> Rows:
        self._refuse_writing(connection, sql)
        streaming = connection.execution_options(stream_results=True)
        with streaming.exec_driver_sql(sql.replace("%", "%%")) as result:
            columns = tuple(result.keys())
            try:
                for size in _chunk_sizes():
                    rows = result.fetchmany(size)
                    yield columns, rows
                    if len(rows) < size:
                        return
            except GeneratorExit:
                cancel()
                _drain(result)
                raise

    def _refuse_writing(self, connection: Connection, sql: str) -> None:
        if _EXECUTABLE_COMMENT.search(sql) or _WRITES_A_FILE.search(sql):
            raise _RefusedError("only reading is allowed: no executable comment, no INTO")
        if not _READS.match(sql):
            connection.exec_driver_sql("PREPARE mats FROM %s", (sql,))  # what is not SQL is an error, not refused
            raise _RefusedError("only reading is allowed")

    def outcome(self, error: Exception) -> Outcome:
        if isinstance(error, _RefusedError):
            return Outcome.REFUSED
        arguments = getattr(getattr(error, "orig", None), "args", ()) or (0,)
        return self._OUTCOMES.get(arguments[0], Outcome.ERROR)

    def abandon(self, connection: Connection) -> None:
        with suppress(DBAPIError):
            connection.rollback()
            connection.exec_driver_sql("SELECT RELEASE_ALL_LOCKS()")  # a server may notice late that a session ended
        connection.invalidate()


def _drain(result: CursorResult[Any]) -> None:
    """Read what a cancelled statement had sent already; closing the cursor would, and let its error out."""
    with suppress(DBAPIError):
        while result.fetchmany(_LAST_CHUNK):
            pass


_DIALECTS: dict[str, _Dialect] = {"postgresql": _PostgreSql(), "mysql": _MySql(), "mariadb": _MySql()}
