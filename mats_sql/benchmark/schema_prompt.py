"""The schema as text: the beginning of every agent's prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mats_sql.benchmark.schema import Column, Schema, Table

_PLAIN_NAME = re.compile(r"[^\W\d]\w*\Z")

RetrievedValues = Mapping[tuple[str, str], Sequence[str]]
"""(table, column) -> values that the question seems to mention, best first."""


@dataclass(frozen=True, slots=True)
class SchemaStyle:
    """Which attributes of a column the text shows."""

    types: bool = True
    meanings: bool = True
    nulls: bool = True
    values: bool = True


def schema_text(schema: Schema, values: RetrievedValues, style: SchemaStyle) -> str:
    """Return the schema in the reference's format (arXiv 2512.18622): a line per column, then the foreign keys."""
    parts = [_table_text(table, values, style) for table in schema.tables]
    if schema.foreign_keys:
        keys = (
            f"{quote_name(key.table)}.{quote_name(key.column)} = {quote_name(key.to_table)}.{quote_name(key.to_column)}"
            for key in schema.foreign_keys
        )
        parts.append("foreign keys:\n" + "\n".join(keys))
    return "\n".join(parts)


def quote_name(name: str) -> str:
    """Return an identifier, back-ticked unless it is plain."""
    return name if _PLAIN_NAME.match(name) else "`" + name.replace("`", "``") + "`"


def table_head(table: Table) -> str:
    """Return what stands before a table's columns, line break included."""
    return f"table {quote_name(table.name)} , columns = [\n"


def column_text(table: Table, column: Column, values: RetrievedValues, style: SchemaStyle) -> str:
    """Return a column's line."""
    attributes = []
    if column.primary_key:
        attributes.append("primary key")
    if style.types:
        attributes.append(f"type: {column.type}")
    if style.meanings and column.meaning:
        attributes.append(f"meaning: {column.meaning}")
    if style.nulls and column.has_null:
        attributes.append("has None")
    found = values.get((table.name, column.name), ())
    if style.values and found:
        attributes.append("values: " + " , ".join(found))
    name = f"{quote_name(table.name)}.{quote_name(column.name)}"
    return f"{name} | {' ; '.join(attributes)}" if attributes else name


def _table_text(table: Table, values: RetrievedValues, style: SchemaStyle) -> str:
    lines = (column_text(table, column, values, style) for column in table.columns)
    return table_head(table) + "\n".join(lines) + "\n]"
