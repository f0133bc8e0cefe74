"""Writes the index of a database's values: one pass over each text column, in bounded memory.

The file is SQLite. ``columns`` has each indexed column with the number of its values and of their words; ``texts`` the
values, one column after another, each column's in the order of code points; ``postings`` per column and word which
values hold it, packed as :data:`POSTING` in parts of at most :data:`PART`, in the values' order.
"""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

from mats_sql.benchmark.database_file import columns_in_file, quote_identifier
from mats_sql.benchmark.schema import Schema, Table
from mats_sql.benchmark.words import tokenize
from mats_sql.errors import StageInputError
from mats_sql.sql import open_database

INDEX_VERSION = 1
"""Raised whenever the same database may get another index."""

MAX_VALUE_CHARACTERS = 50
MAX_VALUES_PER_COLUMN = 500_000

POSTING = struct.Struct("<IBB")
"""A value's number in its column, how often it holds the word, how many words it has."""
PART = 4096

_BATCH = 4096
_Item = TypeVar("_Item")
_TEXT_TYPES = ("text", "char", "clob", "string")
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = NORMAL;
PRAGMA temp_store = FILE;
CREATE TABLE columns (id INTEGER PRIMARY KEY, table_name TEXT, column_name TEXT, first INTEGER, texts INTEGER,
    words INTEGER);
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT);
CREATE TABLE postings (column_id INTEGER, word BLOB, part INTEGER, packed BLOB, PRIMARY KEY (column_id, word, part))
    WITHOUT ROWID;
CREATE TEMP TABLE scratch (word BLOB, posting BLOB);
"""


def indexed_columns(schema: Schema) -> list[tuple[str, str]]:
    """Return the (table, column) names of a schema whose declared type is text, in order."""
    return [(table.name, column.name) for table in schema.tables for column in table.columns if _is_text(column.type)]


def write_index(database: Path, schema: Schema, target: Path | None) -> sqlite3.Connection:
    """Write the index of a database into a new file, or a temporary one that ends with its connection; return that.

    Values and words are streamed: what is held at a time is some thousands of values and SQLite's page caches, whatever
    the database's size; what must be sorted or made distinct goes through SQLite's temporary files. Raises
    :class:`~mats_sql.errors.DatabaseError` for a database that cannot be read and
    :class:`~mats_sql.errors.StageInputError` for a file that cannot be written.
    """
    with open_database(database) as connection:
        connection.execute("PRAGMA temp_store = FILE")
        columns = (
            (table.name, name, _distinct_values(connection, table.name, name))
            for table in schema.tables
            for name in _columns(connection, table)
        )
        return write_values(columns, target)


def write_values(columns: Iterable[tuple[str, str, Iterable[str]]], target: Path | None) -> sqlite3.Connection:
    """Write an index of (table, column, distinct values in the order of code points), as :func:`write_index` does."""
    writer = _Writer(target)
    for table, column, values in columns:
        writer.add(table, column, values)
    return writer.finish()


class _Writer:
    """The file being written; its errors are not the database's."""

    def __init__(self, target: Path | None) -> None:
        self._target = target
        self._texts = 0
        try:
            self._connection = sqlite3.connect(target or "", isolation_level=None, check_same_thread=False)
            self._connection.executescript(_TABLES)
            self._connection.execute("BEGIN")
        except sqlite3.Error as error:
            raise self._unwritable(error) from None

    def add(self, table: str, column: str, values: Iterable[str]) -> None:
        """Index one column's values, given in order. A value without a word is left out."""
        first, words = self._texts, 0
        documents = ((value, found) for value in values if (found := tokenize(value)))
        for batch in _batches(documents, _BATCH):
            words += sum(len(found) for _, found in batch)
            self._add_batch(batch, first)
        if self._texts == first:
            return
        row = (table, column, first, self._texts - first, words)
        insert = "INSERT INTO columns (table_name, column_name, first, texts, words) VALUES (?, ?, ?, ?, ?)"
        try:
            self._add_postings(self._connection.execute(insert, row).lastrowid)
        except sqlite3.Error as error:
            raise self._unwritable(error) from None

    def finish(self) -> sqlite3.Connection:
        """Make the file whole and return its connection."""
        try:
            self._connection.execute("DROP TABLE scratch")
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unwritable(error) from None
        return self._connection

    def _add_batch(self, batch: Iterable[tuple[str, list[str]]], first: int) -> None:
        texts: list[tuple[int, str]] = []
        postings: list[tuple[bytes, bytes]] = []
        for value, found in batch:
            own = self._texts - first
            texts.append((self._texts, value))
            postings += [
                (word.encode("utf-8"), POSTING.pack(own, times, len(found))) for word, times in Counter(found).items()
            ]
            self._texts += 1
        try:
            self._connection.executemany("INSERT INTO texts VALUES (?, ?)", texts)
            self._connection.executemany("INSERT INTO scratch VALUES (?, ?)", postings)
        except sqlite3.Error as error:
            raise self._unwritable(error) from None

    def _add_postings(self, column_id: int | None) -> None:
        """Move the column's postings from the order of its values to that of its words."""
        by_word = self._connection.execute("SELECT word, posting FROM scratch ORDER BY word, rowid")
        rows = (
            (column_id, word, part, b"".join(posting for _, posting in some))
            for word, group in groupby(by_word, key=lambda row: row[0])
            for part, some in enumerate(_batches(group, PART))
        )
        self._connection.executemany("INSERT INTO postings VALUES (?, ?, ?, ?)", rows)
        self._connection.execute("DELETE FROM scratch")

    def _unwritable(self, error: sqlite3.Error) -> StageInputError:
        place = self._target.parent if self._target else "the folder of temporary files"
        return StageInputError(f"a value index must be written, but {place}: {error}; free space there")


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch


def _columns(connection: sqlite3.Connection, table: Table) -> list[str]:
    return [column.name for column in columns_in_file(connection, table) if _is_text(column.type)]


def _is_text(declared: str) -> bool:
    return any(kind in declared.casefold() for kind in _TEXT_TYPES)


def _distinct_values(connection: sqlite3.Connection, table: str, column: str) -> Iterator[str]:
    """Yield a column's values in the order of their bytes, which in UTF-8 is that of code points."""
    name = quote_identifier(column)
    rows = connection.execute(
        f"SELECT value FROM (SELECT DISTINCT CAST({name} AS BLOB) AS value FROM {quote_identifier(table)} "
        f"WHERE typeof({name}) = 'text' AND length({name}) BETWEEN 1 AND {MAX_VALUE_CHARACTERS} "
        f"LIMIT {MAX_VALUES_PER_COLUMN}) ORDER BY value"
    )
    for (data,) in rows:
        try:
            value = data.decode("utf-8")
        except UnicodeDecodeError:
            continue  # not a text: a model could not write it as a literal
        if value.isprintable():  # a line break would break the schema's line
            yield value
