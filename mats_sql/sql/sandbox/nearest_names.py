"""Name the columns or tables nearest to one that a SQL asks for and the database lacks, as PostgreSQL's hint does.

It reads the error, the SQL and the schema, never a gold. Standard library only, for the worker's sake.
"""

from __future__ import annotations

import heapq
import re
import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mats_sql.sql.sandbox.likeness import dice, letter_pairs
from mats_sql.sql.sandbox.literals import named_tables

MIN_LIKENESS = 0.4
"""Dice's coefficient from which a column is worth naming."""
MIN_TABLE_LIKENESS = 0.15
"""The same for a table: there are few of them, so that a faint likeness tells one from the others."""
_CONSIDERED = 8
_KEYS = """
SELECT f."from", f."table", coalesce(f."to", (SELECT name FROM pragma_table_info(f."table") WHERE pk = 1))
FROM pragma_foreign_key_list(?) AS f
WHERE EXISTS (SELECT 1 FROM pragma_table_info(f."table")) GROUP BY f.id HAVING count(*) = 1 ORDER BY f.id DESC
"""
"""The foreign keys of a table that are one column, in the table's order, with what they refer to."""
_MISSING = re.compile(r"no such column: (?:(?P<qualifier>.+)\.)?(?P<name>[^.]+)")
_MISSING_TABLE = re.compile(r"no such table: (?:main\.)?(?P<name>.+)")


class Missing(NamedTuple):
    """What the database lacks, as the error names it: a table, or a column with its qualifier (perhaps empty)."""

    table: bool
    qualifier: str
    name: str


class Name(NamedTuple):
    """A table, or a column of one; ``column`` is empty for a table."""

    table: str
    column: str = ""

    @property
    def text(self) -> str:
        """The name as SQL writes it, in quotes where it needs them."""
        return ".".join(plain(part) for part in self if part)


def missing_name(error: str) -> Missing | None:
    """Return what SQLite's ``error`` says there is not; ``None`` for other errors."""
    if (table := _MISSING_TABLE.fullmatch(error)) is not None:
        return Missing(True, "", table["name"])
    column = _MISSING.fullmatch(error)
    return None if column is None else Missing(False, column["qualifier"] or "", column["name"])


def nearest_names(
    connection: sqlite3.Connection, columns: Iterable[Name], sql: str, missing: Missing, count: int
) -> tuple[Name, ...]:
    """Return up to ``count`` of the database's ``columns``, or of their tables, most like the ``missing`` one.

    May raise ``sqlite3.Error``.
    """
    if missing.table:
        return _nearest_tables(dict.fromkeys(column.table for column in columns), missing.name, count)
    return _nearest_columns(connection, columns, sql, missing, count)


def _nearest_tables(tables: Iterable[str], missing: str, count: int) -> tuple[Name, ...]:
    """Return the tables most like a missing one, by letter pairs; equally like ones in the given order."""
    wanted = letter_pairs(missing.lower())
    ranked = [(-dice(wanted, letter_pairs(table.lower())), place, table) for place, table in enumerate(tables)]
    best = heapq.nsmallest(count, (found for found in ranked if found[0] <= -MIN_TABLE_LIKENESS))
    return tuple(Name(table) for *_, table in best)


def _nearest_columns(
    connection: sqlite3.Connection, columns: Iterable[Name], sql: str, missing: Missing, count: int
) -> tuple[Name, ...]:
    """Return the columns most like a missing one, those of the SQL's own tables first.

    They are compared by letter pairs, with their tables where the missing one's is told; a column of its very name in
    an own table is before all. Of equally like ones, those that hold more than one value come first, and a key that
    refers to no row gives way to its table's others to the same table. Whoever named a table mostly meant it: of the
    columns of other tables even one of the very name is seldom the one to take.
    """
    aliases = named_tables(sql)
    name, qualifier = missing.name.lower(), missing.qualifier.lower()
    table = aliases.get(qualifier, qualifier)
    wanted, read = letter_pairs(f"{table}.{name}" if table else name), set(aliases.values())

    def rank(place: int, found: Name) -> tuple[bool, float, int]:
        there, column = found.table.lower(), found.column.lower()
        likeness = dice(wanted, letter_pairs(f"{there}.{column}" if table else column))
        own = there in read
        return not own, -1.0 if own and column == name else -likeness, place

    ranked = ((rank(place, column), column) for place, column in enumerate(columns))
    best = heapq.nsmallest(_CONSIDERED, (found for found in ranked if found[0][1] <= -MIN_LIKENESS))
    telling = sorted((key[:2], not _tells(connection, column), key[2], column) for key, column in best)
    ranked_columns = dict.fromkeys(live for *_, column in telling for live in _live_keys(connection, column))
    return tuple(ranked_columns)[:count]


def _live_keys(connection: sqlite3.Connection, column: Name) -> Iterator[Name]:
    """Yield the column; before a foreign key that no row's parent is found by, its table's keys that do find one."""
    keys = [row for row in connection.execute(_KEYS, (column.table,)) if None not in row]
    parents = {parent.lower() for key, parent, _ in keys if key.lower() == column.column.lower()}
    rivals = [key for key in keys if key[1].lower() in parents]
    if len(rivals) > 1:
        live = [Name(column.table, key[0]) for key in rivals if _refers(connection, column.table, key)]
        yield from live if column not in live else ()
    yield column


def _refers(connection: sqlite3.Connection, child: str, key: tuple[str, str, str]) -> bool:
    """Return whether a foreign key (column, parent table, parent's column) finds any row's parent."""
    column, parent, to = map(quoted, key)
    sql = f"SELECT 1 FROM {quoted(child)} WHERE {column} IN (SELECT {to} FROM {parent}) LIMIT 1"
    return connection.execute(sql).fetchone() is not None


def _tells(connection: sqlite3.Connection, column: Name) -> bool:
    """Return whether a column holds more than one value."""
    name, of = quoted(column.column), quoted(column.table)
    row = connection.execute(
        f"SELECT 1 FROM {of} WHERE {name} IS NOT (SELECT {name} FROM {of} LIMIT 1) LIMIT 1"
    ).fetchone()
    return row is not None


def quoted(name: str) -> str:
    """Return a table's or column's name as SQL may always write it."""
    return '"' + name.replace('"', '""') + '"'


def plain(name: str) -> str:
    """Return a name as SQL writes it: in quotes only where it needs them."""
    return name if re.fullmatch(r"[^\W\d]\w*", name) else f"`{name}`"
