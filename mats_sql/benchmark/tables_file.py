"""Reads the tables file that BIRD and Spider share: tables, columns, types and keys of every database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mats_sql.benchmark.items import DatabaseTables, Item, read_items
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table


@dataclass(frozen=True, slots=True)
class DeclaredSchema:
    """A schema and the tables file's readable column names, which become part of the columns' meanings."""

    schema: Schema
    readable_names: dict[tuple[str, str], str]


def read_tables_file(path: Path) -> dict[str, DeclaredSchema]:
    """Return the schemas by database id. Raises :class:`~mats_sql.errors.BenchmarkError` for a malformed file."""
    declared: dict[str, DeclaredSchema] = {}
    for item in read_items(path, DatabaseTables):
        db_id = item.fields.db_id
        if db_id in declared:
            raise item.problem(f"database ids must be unique, but {db_id!r} comes twice")
        declared[db_id] = _declared_schema(item)
    return declared


def _declared_schema(item: Item[DatabaseTables]) -> DeclaredSchema:
    fields = item.fields
    tables, columns, types = fields.table_names_original, fields.column_names_original, fields.column_types
    readable = columns if fields.column_names is None else fields.column_names
    _check_columns(item, "column_names_original", columns)
    _check_columns(item, "column_names", readable)
    if not len(columns) == len(types) == len(readable):
        raise item.problem(
            f"column_names_original, column_names and column_types must be equally long, but have "
            f"{len(columns)}, {len(readable)} and {len(types)} entries"
        )
    primary = _primary_keys(item)
    schema_columns: list[list[Column]] = [[] for _ in tables]
    for position, ((table, name), type_name) in enumerate(zip(columns, types, strict=True)):
        if table >= 0:
            schema_columns[table].append(Column(name, type_name, position in primary))
    schema = Schema(
        fields.db_id,
        tuple(Table(name, tuple(own)) for name, own in zip(tables, schema_columns, strict=True)),
        tuple(_foreign_keys(item)),
    )
    names = {
        (tables[table], name): readable_name
        for (table, name), (_, readable_name) in zip(columns, readable, strict=True)
        if table >= 0
    }
    return DeclaredSchema(schema, names)


def _check_columns(item: Item[DatabaseTables], key: str, columns: Sequence[tuple[int, str]]) -> None:
    """Check the table indexes; -1 belongs to the column ``*``, which is no column."""
    for table, name in columns:
        if not -1 <= table < len(item.fields.table_names_original):
            raise item.problem(f"{key!r} must hold pairs of table index and name, but has {[table, name]!r:.80}")


def _primary_keys(item: Item[DatabaseTables]) -> set[int]:
    """Return the columns of primary keys; a composite key is a list inside the list."""
    nested = (entry if isinstance(entry, list) else [entry] for entry in item.fields.primary_keys)
    return {_position(item, "primary_keys", position) for entry in nested for position in entry}


def _foreign_keys(item: Item[DatabaseTables]) -> Iterable[ForeignKey]:
    key, tables, columns = "foreign_keys", item.fields.table_names_original, item.fields.column_names_original
    for entry in item.fields.foreign_keys:
        (table, column), (to_table, to_column) = (columns[_position(item, key, position)] for position in entry)
        if table < 0 or to_table < 0:
            raise item.problem(f"{key!r} must hold positions of columns, but {list(entry)!r} has the position of '*'")
        yield ForeignKey(tables[table], column, tables[to_table], to_column)


def _position(item: Item[DatabaseTables], key: str, position: int) -> int:
    count = len(item.fields.column_names_original)
    if not 0 <= position < count:
        raise item.problem(f"{key!r} must hold column positions below {count}, but has {position!r:.80}")
    return position
