"""The one way to a database file: it is looked at first, then opened read-only and immutable."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mats_sql.errors import DatabaseError

_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """A database file as it was when it was looked at.

    ``identity`` (size and modification time) tells a worker that a path holds another file now; ``uri`` opens it
    read-only and immutable, so that no lock, journal or write can ever touch it.
    """

    path: Path
    uri: str
    identity: str


def look_at(path: Path) -> DatabaseFile:
    """Return the file's identity, without opening it as a database.

    Raises :class:`DatabaseError` when the file is missing, is not SQLite, is cut short, or has a write-ahead log whose
    rows an immutable connection would silently leave out.
    """
    try:
        status = path.stat()
        with path.open("rb") as stream:
            head = stream.read(100)
    except OSError as error:
        raise DatabaseError(f"a database must be a readable file, but {path}: {error.strerror}; check it") from None
    if len(head) < 100 or not head.startswith(_MAGIC):
        raise DatabaseError(f"a database must be a SQLite 3 file, but {path} is not; restore the original file")
    _check_length(path, head, status.st_size)
    real = path.resolve()
    log = real.with_name(real.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise DatabaseError(f"a database must be complete in its file, but {log} exists; run PRAGMA wal_checkpoint")
    uri = f"file:{quote(str(real))}?mode=ro&immutable=1"
    return DatabaseFile(path, uri, f"{status.st_size}:{status.st_mtime_ns}")


@contextmanager
def open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for the program's own reading: no journal, no lock, no write, whatever runs on it.

    Raises :class:`DatabaseError` for what :func:`look_at` refuses, and when the file turns out damaged while in use.
    """
    database = look_at(path)
    try:
        connection = sqlite3.connect(database.uri, uri=True)
        try:
            yield connection
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"a database must be a readable SQLite file, but {path}: {error}; replace it") from None


def _check_length(path: Path, head: bytes, size: int) -> None:
    page_size = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    counted = head[24:28] == head[92:96]
    expected = (65536 if page_size == 1 else page_size) * pages
    if counted and size < expected:
        raise DatabaseError(f"a database must be whole, but {path} has {size} of {expected} bytes; restore the file")
