"""Reads the tables file that BIRD and Spider share: tables, columns, types and keys of every database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mats_sql.benchmark.json_items import JsonItem, read_items
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table


@dataclass(frozen=True, slots=True)
class DeclaredSchema:
    """A schema and the tables file's readable column names, which become part of the columns' meanings."""

    schema: Schema
    readable_names: dict[tuple[str, str], str]


def read_tables_file(path: Path) -> dict[str, DeclaredSchema]:
    """Return the schemas by database id. Raises :class:`~mats_sql.errors.BenchmarkError` for a malformed file."""
    declared: dict[str, DeclaredSchema] = {}
    for item in read_items(path):
        db_id = item.text("db_id")
        if db_id in declared:
            raise item.problem(f"database ids must be unique, but {db_id!r} comes twice")
        declared[db_id] = _declared_schema(db_id, item)
    return declared


def _declared_schema(db_id: str, item: JsonItem) -> DeclaredSchema:
    tables = [str(name) for name in item.array("table_names_original")]
    columns = _columns(item, "column_names_original", len(tables))
    readable = _columns(item, "column_names", len(tables)) if item.has("column_names") else columns
    types = item.array("column_types")
    if not len(columns) == len(types) == len(readable):
        raise item.problem(
            f"column_names_original, column_names and column_types must be equally long, but have "
            f"{len(columns)}, {len(readable)} and {len(types)} entries"
        )
    primary = _primary_keys(item, len(columns))
    schema_columns: list[list[Column]] = [[] for _ in tables]
    for position, ((table, name), type_name) in enumerate(zip(columns, types, strict=True)):
        if table >= 0:
            schema_columns[table].append(Column(name, str(type_name), position in primary))
    schema = Schema(
        db_id,
        tuple(Table(name, tuple(own)) for name, own in zip(tables, schema_columns, strict=True)),
        tuple(_foreign_keys(item, tables, columns)),
    )
    names = {
        (tables[table], name): readable_name
        for (table, name), (_, readable_name) in zip(columns, readable, strict=True)
        if table >= 0
    }
    return DeclaredSchema(schema, names)


def _columns(item: JsonItem, key: str, table_count: int) -> list[tuple[int, str]]:
    """Return (table index, name) per column; the index -1 belongs to the column ``*``, which is no column."""
    columns = []
    for entry in item.array(key):
        match entry:
            case [int(table), str(name)] if -1 <= table < table_count:
                columns.append((table, name))
            case _:
                raise item.problem(f"{key!r} must hold pairs of table index and name, but has {entry!r:.80}")
    return columns


def _primary_keys(item: JsonItem, column_count: int) -> set[int]:
    """Return the columns of primary keys; a composite key is a list inside the list."""
    entries = item.array("primary_keys")
    nested = (entry if isinstance(entry, list) else [entry] for entry in entries)
    return {_position(item, "primary_keys", position, column_count) for entry in nested for position in entry}


def _foreign_keys(item: JsonItem, tables: list[str], columns: list[tuple[int, str]]) -> Iterable[ForeignKey]:
    key = "foreign_keys"
    for entry in item.array(key):
        if not isinstance(entry, list) or len(entry) != 2:
            raise item.problem(f"{key!r} must hold pairs of column positions, but has {entry!r:.80}")
        table, column = columns[_position(item, key, entry[0], len(columns))]
        to_table, to_column = columns[_position(item, key, entry[1], len(columns))]
        if table < 0 or to_table < 0:
            raise item.problem(f"{key!r} must hold positions of columns, but {entry!r} has the position of '*'")
        yield ForeignKey(tables[table], column, tables[to_table], to_column)


def _position(item: JsonItem, key: str, position: object, column_count: int) -> int:
    if not isinstance(position, int) or not 0 <= position < column_count:
        raise item.problem(f"{key!r} must hold column positions below {column_count}, but has {position!r:.80}")
    return position
