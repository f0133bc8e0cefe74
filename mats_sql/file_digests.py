"""Digests of large files, remembered: a file is read again only when its size or its modification time changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Self

from mats_sql.digests import digest_file
from mats_sql.errors import StageInputError

DIGESTS_FILE = "digests.sqlite"
"""What the table is called in a folder of caches."""


class FileDigests:
    """A table of (path, size, modification time in nanoseconds, SHA-256) that processes share.

    ``path`` is its file, made when it is not there; None: a temporary one that ends with the process. *Not covered*: a
    file whose bytes were changed and whose size and modification time were put back.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection = _open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the table."""
        self._connection.close()

    def digest(self, file: Path) -> str:
        """Return the SHA-256 of a file's bytes, in hex. Raises :class:`OSError` for a file that cannot be read."""
        real = file.resolve()
        identity = _identity(real)
        known = self._known(str(real))
        if known is not None and known[0] == identity:
            return known[1]
        digest = digest_file(real)
        if _identity(real) == identity:
            self._keep(str(real), identity, digest)
        return digest

    def _known(self, path: str) -> tuple[str, str] | None:
        try:
            found = self._connection.execute("SELECT identity, digest FROM files WHERE path = ?", (path,)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        return None if found is None else (str(found[0]), str(found[1]))

    def _keep(self, path: str, identity: str, digest: str) -> None:
        try:
            self._connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (path, identity, digest))
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> StageInputError:
        return _unusable(self._path, error)


def _identity(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _open(path: Path | None) -> sqlite3.Connection:
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path or "", isolation_level=None, timeout=60.0, check_same_thread=False)
        connection.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, identity TEXT, digest TEXT)")
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from None
    return connection


def _unusable(path: Path | None, error: Exception) -> StageInputError:
    return StageInputError(f"the table of file digests must be writable, but {path}: {error}; delete it")
