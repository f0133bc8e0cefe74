"""Name the stored values nearest to a literal that no row has: what a second look at an empty answer needs first.

It reads the SQL and the database, never a gold. What it names is true of the database whatever the SQL means: the
column has no value that equals the literal, and has the values named. Which literals are looked up is said in
:mod:`mats_sql.sql.sandbox.literals`. A SQL that does not run may misname its columns' tables, so its columns are also
looked for in its other tables, then in the whole database. Passed over in silence are views, literals that are long or
span lines, and columns of more than ``MAX_VALUES`` distinct texts. Standard library only, for the worker's sake.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from statistics import fmean
from typing import NamedTuple

from mats_sql.sql.sandbox.likeness import dice, letter_pairs
from mats_sql.sql.sandbox.literals import Comparison, compared_literals, named_tables
from mats_sql.sql.sandbox.nearest_names import Missing, Name, missing_name, nearest_names, quoted
from mats_sql.sql.sandbox.with_name import with_name

MAX_VALUES = 25_000
"""Distinct texts of a column that are compared with a literal; more would take tenths of a second."""
MIN_VALUE_LIKENESS = 0.5
"""How like a missing column's literals a column's texts must be on average for it to be named, 0 to 1."""
MAX_CHARACTERS = 50
"""Characters of a literal, and of a stored value that may be named."""
MAX_LITERALS = 8
"""Literals of one SQL that are looked up."""
MAX_SQL_CHARACTERS = 10_000
"""A longer SQL is not read."""

_COLUMNS = """
SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'
"""


class Nearest(NamedTuple):
    """A literal that no row of ``table`` has in ``column``, and the stored values most like it, best first."""

    table: str
    column: str
    literal: str
    values: tuple[str, ...]


def nearest_values(
    connection: sqlite3.Connection, sql: str, count: int, *, failed: bool = False
) -> tuple[Nearest, ...]:
    """Return what :meth:`StoredValues.nearest` does, for one SQL. Raises ``sqlite3.Error`` likewise."""
    return StoredValues(connection).nearest(sql, count, failed=failed)


class WayOut(NamedTuple):
    """What follows an error: its text, which names what is nearest, and the SQL with that name if it may help."""

    error: str
    sql: str | None


class StoredValues:
    """The values of a database whose tables stay as they are: the schema is read once.

    Everything may raise ``sqlite3.Error``, when the database cannot be read or the connection's bounds are met.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._columns: dict[tuple[str, str], Name] = {
            (table.lower(), column.lower()): Name(table, column) for table, column in connection.execute(_COLUMNS)
        }

    def nearest(self, sql: str, count: int, *, failed: bool = False) -> tuple[Nearest, ...]:
        """Return, per literal of ``sql`` that its column does not hold, up to ``count`` stored values most like it.

        The column of a SQL that ``failed`` need not belong to the table it is said to belong to: it is then looked for
        in the SQL's other tables, and in the database's if only one has it.

        A literal that resembles nothing is left out. Likeness is Dice's coefficient of letter pairs, case aside; equal
        likeness goes by the values' order, so the order of rows plays no part. Equality is the column's own (its
        collation and affinity).
        """
        if count < 1 or "'" not in sql or len(sql) > MAX_SQL_CHARACTERS:
            return ()
        absent = [looked_up for looked_up in self._looked_up(sql, failed) if not self._holds(*looked_up)]
        texts = {column: self._texts(*column) for column in dict.fromkeys(key[:2] for key in absent)}
        found = [Nearest(*key, _most_like(key[2], texts[key[:2]], count)) for key in absent]
        return tuple(nearest for nearest in found if nearest.values)

    def way_out(self, sql: str, error: str, count: int) -> WayOut:
        """Return, for a SQL that failed of a column or table that there is not, up to ``count`` most like it.

        A missing column that is compared with texts is most likely the one of the SQL's tables that holds them: such
        come before those of a like name.
        """
        missing = missing_name(error) if count > 0 and len(sql) <= MAX_SQL_CHARACTERS else None
        if missing is None:
            return WayOut(error, None)
        alike = nearest_names(self._connection, self._columns.values(), sql, missing, count)
        with suppress(sqlite3.OperationalError):  # too much to look through: a like name is still worth telling
            alike = (*self._holding(sql, missing), *alike)
        names = tuple(dict.fromkeys(alike))[:count]
        if not names:
            return WayOut(error, None)
        listed = " , ".join(name.text for name in names)
        return WayOut(f"{error} , nearest {listed}", with_name(sql, missing, names[0]))

    def _holding(self, sql: str, missing: Missing) -> list[Name]:
        """Return the columns of the SQL's tables that hold texts like those compared with a missing one, best first.

        None where a table of the SQL has a column of the very name, or the one that it names has: then the qualifier
        is what is wrong, or a join is missing.
        """
        compared = (found.literals for found in compared_literals(sql) if _is(found, missing))
        literals = [literal for found in compared for literal in found if _can_be_looked_up(literal)][:MAX_LITERALS]
        read = set(named_tables(sql).values())
        own = [name for (table, _), name in self._columns.items() if table in read]
        meant = {(table, missing.name.lower()) for table in (*read, missing.qualifier.lower())}
        if not literals or not meant.isdisjoint(self._columns):
            return []
        texts = {name: self._texts(*name) for name in own}
        if sum(map(len, texts.values())) > MAX_VALUES:
            return []
        likeness = {name: _mean_likeness(literals, held) for name, held in texts.items() if held}
        return sorted((name for name in likeness if likeness[name] >= MIN_VALUE_LIKENESS), key=lambda n: -likeness[n])

    def _looked_up(self, sql: str, failed: bool) -> list[tuple[str, str, str]]:
        """Return each (table, column, literal) that can be looked up once, in the SQL's order."""
        seen: dict[tuple[str, str, str], None] = {}
        for scope, qualifier, name, literals in compared_literals(sql):
            column = self._column(scope.tables(qualifier), name)
            if failed and not column:
                column = self._column(scope.tables(""), name) or self._only_column(name)
            for literal in literals:
                if column and _can_be_looked_up(literal):
                    seen[(*column, literal)] = None
        return list(seen)[:MAX_LITERALS]

    def _column(self, tables: Iterable[str], name: str) -> Name | None:
        """Return (table, column) in the schema's own spelling; ``None`` when none of the tables has the column."""
        keys = ((table.lower(), name.lower()) for table in tables)
        return next((self._columns[key] for key in keys if key in self._columns), None)

    def _only_column(self, name: str) -> Name | None:
        """Return the (table, column) of a column that one table of the database has; ``None`` for any other number."""
        found = [stored for (_, column), stored in self._columns.items() if column == name.lower()]
        return found[0] if len(found) == 1 else None

    def _holds(self, table: str, column: str, literal: str) -> bool:
        sql = f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column)} = ? LIMIT 1"
        return self._connection.execute(sql, (literal,)).fetchone() is not None

    def _texts(self, table: str, column: str) -> list[str]:
        """Return the column's distinct texts that may be named; none when there are too many."""
        name = quoted(column)
        rows = self._connection.execute(
            f"SELECT DISTINCT {name} COLLATE BINARY FROM {quoted(table)} WHERE typeof({name}) = 'text' "
            f"AND length({name}) BETWEEN 1 AND {MAX_CHARACTERS} LIMIT {MAX_VALUES + 1}"
        ).fetchall()
        return [text for (text,) in rows if text.isprintable()] if len(rows) <= MAX_VALUES else []


def _can_be_looked_up(literal: str) -> bool:
    return 0 < len(literal) <= MAX_CHARACTERS and literal.isprintable()


def _is(compared: Comparison, missing: Missing) -> bool:
    """Whether a comparison is one of the missing column, as the error spells it."""
    spelled = (compared.qualifier.lower(), compared.column.lower())
    return spelled == (missing.qualifier.lower(), missing.name.lower())


def _mean_likeness(literals: Sequence[str], texts: Sequence[str]) -> float:
    """Return how like the literals are to the texts most like each, on average."""
    held = [letter_pairs(text) for text in texts]
    return fmean(max(dice(wanted, pairs) for pairs in held) for wanted in map(letter_pairs, literals))


def _most_like(literal: str, texts: Sequence[str], count: int) -> tuple[str, ...]:
    wanted = letter_pairs(literal)
    likeness = ((-dice(wanted, letter_pairs(text)), text) for text in texts)
    return tuple(text for _, text in heapq.nsmallest(count, (pair for pair in likeness if pair[0])))
