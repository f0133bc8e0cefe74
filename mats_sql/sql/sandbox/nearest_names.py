"""Name the columns or tables nearest to one that a SQL asks for and the database lacks, as PostgreSQL's hint does.

It reads the error, the SQL and the schema, never a gold. Standard library only, for the worker's sake.
"""

from __future__ import annotations

import heapq
import re
import sqlite3
from collections.abc import Iterable

from mats_sql.sql.sandbox.likeness import dice, letter_pairs
from mats_sql.sql.sandbox.literals import named_tables

MIN_LIKENESS = 0.4
"""Dice's coefficient from which a column is worth naming."""
MIN_TABLE_LIKENESS = 0.15
"""The same for a table: there are few of them, so that a faint likeness tells one from the others."""
_CONSIDERED = 8
_MISSING = re.compile(r"no such column: (?:(?P<qualifier>.+)\.)?(?P<name>[^.]+)")
_MISSING_TABLE = re.compile(r"no such table: (?:main\.)?(?P<name>.+)")


def nearest_names(
    connection: sqlite3.Connection, columns: Iterable[tuple[str, str]], sql: str, error: str, count: int
) -> tuple[str, ...]:
    """Return up to ``count`` columns (``table.column``) or tables most like the one that ``error`` misses.

    Empty for other errors; ``columns`` are the database's (table, column). May raise ``sqlite3.Error``.
    """
    if (table := _MISSING_TABLE.fullmatch(error)) is not None:
        return nearest_tables(dict.fromkeys(table for table, _ in columns), table["name"], count)
    return nearest_columns(connection, columns, sql, error, count)


def nearest_tables(tables: Iterable[str], missing: str, count: int) -> tuple[str, ...]:
    """Return up to ``count`` tables most like a missing one, by letter pairs; equally like ones in the given order."""
    wanted = letter_pairs(missing.lower())
    ranked = [(-dice(wanted, letter_pairs(table.lower())), place, table) for place, table in enumerate(tables)]
    best = heapq.nsmallest(count, (found for found in ranked if found[0] <= -MIN_TABLE_LIKENESS))
    return tuple(_plain(table) for *_, table in best)


def nearest_columns(
    connection: sqlite3.Connection, columns: Iterable[tuple[str, str]], sql: str, error: str, count: int
) -> tuple[str, ...]:
    """Return up to ``count`` columns, ``table.column``, most like the one that ``error`` misses; none for other errors.

    ``columns`` are the database's (table, column). A column of that very name in another table of the SQL comes first.
    The others are compared by letter pairs, with their tables where the missing one's is told; equally like ones have
    the SQL's own tables first, then those that hold more than one value. May raise ``sqlite3.Error``.
    """
    missing = _MISSING.fullmatch(error)
    if missing is None or count < 1:
        return ()
    aliases = named_tables(sql)
    name, qualifier = missing["name"].lower(), (missing["qualifier"] or "").lower()
    table = aliases.get(qualifier, qualifier)
    wanted, read = letter_pairs(f"{table}.{name}" if table else name), set(aliases.values())

    def rank(place: int, found: tuple[str, str]) -> tuple[float, bool, int]:
        there, column = found[0].lower(), found[1].lower()
        likeness = dice(wanted, letter_pairs(f"{there}.{column}" if table else column))
        return -1.0 if column == name and there in read else -likeness, there not in read, place

    ranked = ((rank(place, column), column) for place, column in enumerate(columns))
    best = heapq.nsmallest(_CONSIDERED, (found for found in ranked if found[0][0] <= -MIN_LIKENESS))
    telling = sorted((key[:2], not _tells(connection, *column), key[2], column) for key, column in best)
    return tuple(".".join(map(_plain, column)) for *_, column in telling[:count])


def _tells(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Return whether a column holds more than one value."""
    name, of = quoted(column), quoted(table)
    row = connection.execute(
        f"SELECT 1 FROM {of} WHERE {name} IS NOT (SELECT {name} FROM {of} LIMIT 1) LIMIT 1"
    ).fetchone()
    return row is not None


def quoted(name: str) -> str:
    """Return a table's or column's name as SQL may always write it."""
    return '"' + name.replace('"', '""') + '"'


def _plain(name: str) -> str:
    return name if re.fullmatch(r"[^\W\d]\w*", name) else f"`{name}`"
