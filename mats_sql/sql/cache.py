"""What the judge remembers on disk: gold results, executions and verdicts, by content.

One SQLite file. A key is a digest of everything that can change the remembered answer: the evaluator's version,
SQLite's, the limits, the database's bytes and the SQL (for SQL that asks for the time, the day too). Nothing is ever
updated: the first answer stands.
"""

from __future__ import annotations

import datetime
import hashlib
import marshal
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mats_sql.config import SqlLimits
from mats_sql.digests import digest_json
from mats_sql.errors import StageInputError
from mats_sql.file_digests import DIGESTS_FILE, FileDigests
from mats_sql.sql.database import DatabaseFile
from mats_sql.sql.sandbox.protocol import Verdicts, pack
from mats_sql.sql.sandbox.workers import ExecutionTuple

EVALUATOR_VERSION = 10
"""Raised whenever the same inputs may get another verdict or execution."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS golds (key BLOB PRIMARY KEY, execution BLOB, result BLOB, steps INTEGER);
CREATE TABLE IF NOT EXISTS executions (key BLOB PRIMARY KEY, execution BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, verdicts BLOB) WITHOUT ROWID;
"""
_VOLATILE = re.compile(
    r"\bnow\b|\bcurrent_|\brandom|\b(?:date|time|datetime|julianday|unixepoch)\s*\(\s*\)|\bstrftime\s*\([^,()]*\)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class KeptGold:
    """A gold's execution, its rows (``None`` when it failed or is too large to keep) and its cost in steps."""

    execution: ExecutionTuple
    rows: bytes | None
    steps: int

    @property
    def ran(self) -> bool:
        """Whether gold executed to the end."""
        return self.execution[0] in ("rows", "empty")


class JudgeCache:
    """The judge's memory; without a folder it is a temporary file that ends with the process.

    ``digests`` is the table of file digests that others use too; without one the folder has its own.
    """

    def __init__(self, folder: Path | None, limits: SqlLimits, digests: Path | None = None) -> None:
        self._connection = _open(folder)
        self._digests = FileDigests(digests or (folder / DIGESTS_FILE if folder else None))
        self._base = digest_json([EVALUATOR_VERSION, sqlite3.sqlite_version, limits.model_dump()]).encode()

    def close(self) -> None:
        """Close the files."""
        self._connection.close()
        self._digests.close()

    def database_digest(self, database: DatabaseFile) -> str:
        """Return the SHA-256 of the file; read anew only when size or modification time changed."""
        return self._digests.digest(database.path)

    def keys(self, database_digest: str, *sqls: str) -> hashlib.blake2b:
        """Return the hash state of a database and SQL; :func:`key_of` makes keys from it."""
        state = hashlib.blake2b(self._base + database_digest.encode(), digest_size=16)
        for sql in sqls:
            _feed(state, sql)
        return state

    def verdicts(self, keys: Sequence[bytes]) -> dict[bytes, Verdicts]:
        """Return the kept verdicts among ``keys``."""
        found = self._find("verdicts", keys)
        return {key: cast(Verdicts, marshal.loads(blob)) for key, blob in found}

    def executions(self, keys: Sequence[bytes]) -> dict[bytes, ExecutionTuple]:
        """Return the kept executions among ``keys``."""
        return {key: cast(ExecutionTuple, marshal.loads(blob)) for key, blob in self._find("executions", keys)}

    def gold(self, key: bytes) -> KeptGold | None:
        """Return a kept gold."""
        found = self._connection.execute("SELECT execution, result, steps FROM golds WHERE key = ?", (key,)).fetchone()
        return None if found is None else KeptGold(marshal.loads(found[0]), found[1], found[2])

    def keep_gold(self, key: bytes, gold: KeptGold) -> None:
        """Keep a gold's result."""
        row = (key, pack(gold.execution), gold.rows, gold.steps)
        self._connection.execute("INSERT OR IGNORE INTO golds VALUES (?, ?, ?, ?)", row)

    def keep(
        self, verdicts: Iterable[tuple[bytes, Verdicts]], executions: Iterable[tuple[bytes, ExecutionTuple]]
    ) -> None:
        """Keep verdicts and executions, in one transaction."""
        with self._connection:
            self._connection.execute("BEGIN")
            for table, pairs in (("verdicts", verdicts), ("executions", executions)):
                rows = ((key, pack(value)) for key, value in pairs)
                self._connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", rows)

    def _find(self, table: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            yield from self._connection.execute(f"SELECT * FROM {table} WHERE key IN ({marks})", part)


def key_of(state: hashlib.blake2b, sql: str) -> bytes:
    """Return the key of one more SQL after what ``state`` holds."""
    own = state.copy()
    _feed(own, sql)
    return own.digest()


def _feed(state: hashlib.blake2b, sql: str) -> None:
    text = sql.encode("utf-8", "surrogatepass")
    state.update(b"%d:" % len(text) + text)
    if _VOLATILE.search(sql):
        state.update(datetime.datetime.now(datetime.UTC).date().isoformat().encode())


def _open(folder: Path | None) -> sqlite3.Connection:
    try:
        if folder is None:
            connection = sqlite3.connect("", isolation_level=None)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(folder / "judge.sqlite", isolation_level=None, timeout=60.0)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise StageInputError(
            f"the judge's cache must be a writable folder, but {folder}: {error}; delete it"
        ) from None
    return connection
