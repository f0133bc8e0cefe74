"""Finds the values of a database that a question seems to mention: BM25 per text column (arXiv 2512.18622)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bm25s
import numpy as np

from mats_sql.benchmark.database_file import columns_in_file, quote_identifier
from mats_sql.benchmark.schema import Schema, Table
from mats_sql.benchmark.schema_prompt import RetrievedValues
from mats_sql.benchmark.words import tokenize
from mats_sql.sql import open_database

MAX_VALUE_CHARACTERS = 50
MAX_VALUES_PER_COLUMN = 500_000

_TEXT_TYPES = ("text", "char", "clob", "string")


@dataclass(frozen=True, slots=True)
class _ColumnIndex:
    """The distinct values of one column, sorted, and their BM25 weights."""

    table: str
    column: str
    values: tuple[str, ...]
    tokens: frozenset[str]
    bm25: bm25s.BM25

    def best(self, tokens: Sequence[str], count: int) -> tuple[str, ...]:
        """Return the best values that share a token, best first; equal scores in the values' order."""
        scores = self.bm25.get_scores(list(tokens))
        hits = np.flatnonzero(scores > 0)
        order = np.argsort(-scores[hits], kind="stable")[:count]
        return tuple(self.values[position] for position in hits[order])


class ValueIndex:
    """An index of the text values of one database, built once and asked once per question.

    It holds the distinct values of at most :data:`MAX_VALUE_CHARACTERS` characters of every column whose declared type
    is text. A value is found only when it shares a word with the question, stop words aside: there is no arbitrary
    first value where nothing was found. *Not covered*: word forms (``singers`` does not find ``singer``), typing
    errors, values in number or date columns, and columns with more than :data:`MAX_VALUES_PER_COLUMN` distinct values
    beyond the first ones.
    """

    def __init__(self, columns: Sequence[_ColumnIndex]) -> None:
        self._columns = tuple(columns)

    @classmethod
    def build(cls, database: Path, schema: Schema) -> ValueIndex:
        """Read the values of a database. Raises :class:`~mats_sql.errors.DatabaseError`."""
        with open_database(database) as connection:
            indexes = [index for table in schema.tables for index in _table_indexes(connection, table)]
        return cls(indexes)

    def retrieve(self, text: str, per_column: int) -> RetrievedValues:
        """Return up to ``per_column`` values of each column that share a word with ``text``, best first."""
        words = sorted(set(tokenize(text)))
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        if per_column < 1:
            return found
        for index in self._columns:
            known = [word for word in words if word in index.tokens]
            if known:
                found[index.table, index.column] = index.best(known, per_column)
        return found


def _table_indexes(connection: sqlite3.Connection, table: Table) -> list[_ColumnIndex]:
    indexes = []
    for column in columns_in_file(connection, table):
        if any(kind in column.type.casefold() for kind in _TEXT_TYPES):
            index = _column_index(table.name, column.name, _distinct_values(connection, table.name, column.name))
            indexes.extend([index] if index else [])
    return indexes


def _distinct_values(connection: sqlite3.Connection, table: str, column: str) -> list[str]:
    name = quote_identifier(column)
    rows = connection.execute(
        f"SELECT DISTINCT CAST({name} AS BLOB) FROM {quote_identifier(table)} WHERE typeof({name}) = 'text' "
        f"AND length({name}) BETWEEN 1 AND {MAX_VALUE_CHARACTERS} LIMIT {MAX_VALUES_PER_COLUMN}"
    )
    values = []
    for (data,) in rows:
        try:
            value = data.decode("utf-8")
        except UnicodeDecodeError:
            continue  # not a text: a model could not write it as a literal
        if value.isprintable():  # a line break would break the schema's line
            values.append(value)
    return sorted(values)


def _column_index(table: str, column: str, values: Sequence[str]) -> _ColumnIndex | None:
    documents = [(value, tokenize(value)) for value in values]
    documents = [(value, tokens) for value, tokens in documents if tokens]
    if not documents:
        return None
    bm25 = bm25s.BM25()
    bm25.index([tokens for _, tokens in documents], show_progress=False)
    words = frozenset(word for _, tokens in documents for word in tokens)
    return _ColumnIndex(table, column, tuple(value for value, _ in documents), words, bm25)
