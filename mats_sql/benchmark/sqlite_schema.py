"""Reads a schema from a SQLite file alone, for a question about a database that belongs to no benchmark."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mats_sql.benchmark.database_file import with_nulls
from mats_sql.benchmark.descriptions import describe
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
from mats_sql.benchmark.tables_file import DeclaredSchema
from mats_sql.sql import open_database

_AFFINITIES = (("INT", "integer"), ("CHAR", "text"), ("CLOB", "text"), ("TEXT", "text"), ("BLOB", "blob"))
_REAL = ("REAL", "FLOA", "DOUB")


def schema_from_sqlite(database: Path) -> Schema:
    """Return the schema of a database file, its tables in the order of their creation.

    Types read as in BIRD's tables files (``integer``, ``text``, ``real``, ``date``, ``datetime``). A folder
    ``database_description`` beside the file gives the columns their meanings, as in BIRD's layout. Raises
    :class:`~mats_sql.errors.DatabaseError` for a file that is missing or no database.
    """
    with open_database(database) as connection:
        names = [
            str(name)
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
                "ORDER BY rowid"
            )
        ]
        tables = tuple(Table(name, _columns(connection, name)) for name in names)
        keys = tuple(key for table in tables for key in _foreign_keys(connection, table.name, tables))
    schema = Schema(database.stem, tables, keys)
    readable = {(table.name, column.name): column.name for table in tables for column in table.columns}
    described = describe(DeclaredSchema(schema, readable), database.parent / "database_description")
    return with_nulls(described, database)


def _columns(connection: sqlite3.Connection, table: str) -> tuple[Column, ...]:
    rows = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (table,))
    return tuple(Column(str(name), plain_type(str(declared)), bool(key)) for name, declared, key in rows)


def _foreign_keys(connection: sqlite3.Connection, table: str, tables: tuple[Table, ...]) -> list[ForeignKey]:
    """Return a table's foreign keys; one that names no column means the other table's primary key."""
    rows = connection.execute(
        'SELECT "from", "table", "to", seq FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq', (table,)
    )
    keys = []
    for column, to_table, to_column, position in rows.fetchall():
        target = next((other for other in tables if other.name.casefold() == str(to_table).casefold()), None)
        if target is None:
            continue
        primary = [other.name for other in target.columns if other.primary_key]
        if to_column is None and position >= len(primary):
            continue
        keys.append(ForeignKey(table, str(column), target.name, to_column or primary[position]))
    return keys


def plain_type(declared: str) -> str:
    """Return a declared type by SQLite's affinity rules; dates keep their name, which models read."""
    upper = declared.upper()
    if upper.startswith(("DATE", "TIME")):
        return "datetime" if upper.startswith(("DATETIME", "TIMESTAMP")) else upper.partition("(")[0].strip().lower()
    for mark, name in _AFFINITIES:
        if mark in upper:
            return name
    if any(mark in upper for mark in _REAL):
        return "real"
    return upper.partition("(")[0].strip().lower() or "blob"
