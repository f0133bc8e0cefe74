"""The typed schema of one database, whatever file format it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``meaning`` joins the description files' name, description and value description; may be empty."""

    name: str
    type: str
    primary_key: bool = False
    meaning: str = ""
    has_null: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table with its columns in their declared order."""

    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``table.column`` refers to ``to_table.to_column``."""

    table: str
    column: str
    to_table: str
    to_column: str


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables and foreign keys of the database ``db_id``."""

    db_id: str
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
