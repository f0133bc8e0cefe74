"""Reads the schema and the values of a live database server, for a question about a database that has no file.

What is covered: PostgreSQL, MySQL and MariaDB; the tables of the connection's default schema, types in the words of
BIRD's tables files, primary and foreign keys, comments as meanings, which columns hold NULL, and the text values that a
question may mention. What is not: views, and a table that the user may not read (the whole database is then refused).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import sqlalchemy as sa

from mats_sql.benchmark.database_file import NULL_SCAN_ROWS
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
from mats_sql.benchmark.sqlite_schema import plain_type
from mats_sql.benchmark.value_writer import MAX_VALUE_CHARACTERS, indexed_columns, write_values
from mats_sql.benchmark.values import ValueIndex
from mats_sql.config import SqlLimits
from mats_sql.sql import open_server

MAX_SERVER_VALUES = 20_000
"""Values read of a column: a server's content has no digest, so they are read again by every process that asks."""


def schema_from_server(address: str, limits: SqlLimits) -> tuple[Schema, ValueIndex]:
    """Return the schema of the database that an address ends in, tables by name, and the index of its text values.

    Raises :class:`~mats_sql.errors.ConfigError` for a bad address and :class:`~mats_sql.errors.DatabaseError` for a
    server that cannot be reached or read.
    """
    with open_server(address, limits) as connection:
        inspector = sa.inspect(connection)
        names = sorted(inspector.get_table_names())
        tables = tuple(_with_nulls(connection, _table(inspector, name)) for name in names)
        keys = tuple(key for name in names for key in _foreign_keys(inspector, name, names))
        schema = Schema(str(connection.engine.url.database), tables, keys)
        columns = ((table, name, list(_values(connection, table, name))) for table, name in indexed_columns(schema))
        return schema, ValueIndex(write_values(columns, None))


def _table(inspector: sa.Inspector, name: str) -> Table:
    primary = set(inspector.get_pk_constraint(name)["constrained_columns"])
    columns = (
        Column(
            str(column["name"]),
            plain_type(str(column["type"])),
            column["name"] in primary,
            " ".join((column.get("comment") or "").split()),
        )
        for column in inspector.get_columns(name)
    )
    return Table(name, tuple(columns))


def _foreign_keys(inspector: sa.Inspector, name: str, known: list[str]) -> Iterator[ForeignKey]:
    for key in inspector.get_foreign_keys(name):
        if key["referred_table"] in known and key["referred_schema"] is None:
            for column, target in zip(key["constrained_columns"], key["referred_columns"], strict=True):
                yield ForeignKey(name, column, key["referred_table"], target)


def _with_nulls(connection: sa.Connection, table: Table) -> Table:
    """Return the table with ``has_null`` set from its first :data:`NULL_SCAN_ROWS` rows."""
    if not table.columns:
        return table
    columns: list[sa.ColumnClause[object]] = [sa.column(column.name) for column in table.columns]
    first = sa.select(*columns).select_from(sa.table(table.name)).limit(NULL_SCAN_ROWS).subquery()
    flags = [sa.func.max(sa.case((first.c[column.name].is_(None), 1), else_=0)) for column in columns]
    found = connection.execute(sa.select(*flags)).one()
    marked = (replace(column, has_null=bool(flag)) for column, flag in zip(table.columns, found, strict=True))
    return replace(table, columns=tuple(marked))


def _values(connection: sa.Connection, table: str, column: str) -> Iterator[str]:
    """Yield a column's distinct values in the order of code points."""
    value = sa.cast(sa.column(column), sa.Text).label("value")
    fits = sa.func.char_length(value).between(1, MAX_VALUE_CHARACTERS)
    query = sa.select(value).distinct().select_from(sa.table(table)).where(fits).limit(MAX_SERVER_VALUES)
    yield from sorted(text for (text,) in connection.execute(query) if text.isprintable())
