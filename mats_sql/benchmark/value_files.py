"""Keeps value indexes in a folder: one file per database content, written once and shared by whoever asks."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from mats_sql.benchmark.schema import Schema
from mats_sql.benchmark.value_writer import INDEX_VERSION, indexed_columns, write_index
from mats_sql.benchmark.values import ValueIndex
from mats_sql.digests import digest_json
from mats_sql.errors import StageInputError
from mats_sql.file_digests import FileDigests
from mats_sql.sql import look_at


def kept_index(database: Path, schema: Schema, digests: FileDigests, folder: Path) -> ValueIndex:
    """Return the index of a database from ``folder``, where it is put if it is not there.

    Its name says which bytes and which columns it is of. A file takes its name only when it is complete, so of
    processes that index one database at a time each is right and the last one's file stays; a damaged file is written
    again. Raises :class:`~mats_sql.errors.DatabaseError` for a database that cannot be read and
    :class:`~mats_sql.errors.StageInputError` for a folder that cannot be written.
    """
    look_at(database)
    digest = digests.digest(database)
    key = digest_json([INDEX_VERSION, digest, indexed_columns(schema)])
    path = folder / f"{digest[:16]}-{key[:16]}.sqlite"
    if not path.is_file():
        _write(path, database, schema)
    try:
        return ValueIndex(_open(path))
    except sqlite3.DatabaseError:  # a cache may always be empty
        _write(path, database, schema)
        return ValueIndex(_open(path))


def _write(path: Path, database: Path, schema: Schema) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_index(database, schema, partial).close()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StageInputError(
            f"value indexes must be kept in a writable folder, but {path.parent}: {error.strerror}; check it"
        ) from None


def _open(path: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, check_same_thread=False)
