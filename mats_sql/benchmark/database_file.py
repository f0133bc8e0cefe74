"""Reads facts from a SQLite database file without ever changing it: which columns hold NULL, which values they hold."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from mats_sql.benchmark.schema import Column, Schema, Table
from mats_sql.sql import open_database

NULL_SCAN_ROWS = 100_000
"""NULLs are looked for in so many first rows of a table, so that gigabytes of BIRD's train set do not hold up a run."""


def find_databases(folder: Path) -> dict[str, Path]:
    """Return the files ``<db>/<db>.sqlite`` below a folder by database id, in the ids' order."""
    if not folder.is_dir():
        return {}
    paths = {entry.name: entry / f"{entry.name}.sqlite" for entry in sorted(folder.iterdir())}
    return {db_id: path for db_id, path in paths.items() if path.is_file()}


def with_nulls(schema: Schema, database: Path) -> Schema:
    """Return the schema with ``has_null`` set from the first :data:`NULL_SCAN_ROWS` rows of each table.

    A table or column that the file does not have stays without NULL. Raises
    :class:`~mats_sql.errors.DatabaseError`.
    """
    with open_database(database) as connection:
        return replace(schema, tables=tuple(_table_with_nulls(connection, table) for table in schema.tables))


def columns_in_file(connection: sqlite3.Connection, table: Table) -> list[Column]:
    """Return the schema's columns of a table that the database file has too (SQLite ignores case)."""
    rows = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table.name,))
    names = {str(name).casefold() for (name,) in rows}
    return [column for column in table.columns if column.name.casefold() in names]


def quote_identifier(name: str) -> str:
    """Return a name in back-ticks: unlike double quotes, SQLite never falls back to reading it as a string."""
    return "`" + name.replace("`", "``") + "`"


def _table_with_nulls(connection: sqlite3.Connection, table: Table) -> Table:
    present = columns_in_file(connection, table)
    if not present:
        return table
    flags = ", ".join(f"max({quote_identifier(column.name)} IS NULL)" for column in present)
    names = ", ".join(quote_identifier(column.name) for column in present)
    scan = f"SELECT {flags} FROM (SELECT {names} FROM {quote_identifier(table.name)} LIMIT {NULL_SCAN_ROWS})"
    found = connection.execute(scan).fetchone()
    nulls = {column.name for column, flag in zip(present, found, strict=True) if flag}
    return replace(table, columns=tuple(replace(c, has_null=c.name in nulls) for c in table.columns))
