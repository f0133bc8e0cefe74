"""Procedural databases: a theme's entities become tables with foreign keys, typed rows and a few descriptions."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass, field

from mats_sql.benchmark import Column, ForeignKey, Schema, Table
from mats_sql.lab import words
from mats_sql.lab.query import Literal
from mats_sql.lab.words import Attribute, Entity, Kind

Cell = Literal | None


@dataclass(frozen=True, slots=True)
class LabColumn:
    """A column with what its word means; keys have no ``attribute``. ``codes`` pairs words with their letters."""

    name: str
    type: str
    attribute: Attribute | None = None
    codes: tuple[tuple[str, str], ...] = ()
    nullable: bool = False

    @property
    def meaning(self) -> str:
        """The value description of a code column, empty for any other."""
        if self.attribute is None or not self.codes:
            return ""
        return self.attribute.name + " : " + " , ".join(f"{letter} = {word}" for word, letter in self.codes)


@dataclass(frozen=True, slots=True)
class LabTable:
    """A table with its rows; the first column is the primary key ``id``, the second labels a row."""

    name: str
    columns: tuple[LabColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def values(self, column: LabColumn) -> list[Cell]:
        """Return the column's values, one per row."""
        position = self.columns.index(column)
        return [row[position] for row in self.rows]

    def of_kind(self, *kinds: Kind) -> list[LabColumn]:
        """Return the columns whose attribute is of one of the kinds."""
        return [column for column in self.columns if column.attribute and column.attribute.kind in kinds]


@dataclass(frozen=True, slots=True)
class LabDatabase:
    """A generated database. ``links`` holds (child, parent): ``child.<parent>_id`` refers to ``parent.id``."""

    db_id: str
    tables: tuple[LabTable, ...]
    links: tuple[tuple[str, str], ...] = field(default=())

    def table(self, name: str) -> LabTable:
        """Return the table of that name."""
        return next(table for table in self.tables if table.name == name)


def build_database(rng: random.Random, db_id: str, theme: str, rows: tuple[int, int]) -> LabDatabase:
    """Return a random database over a theme's entities with a number of rows per table in the range ``rows``."""
    entities = rng.sample(words.THEMES[theme], rng.choices((2, 3, 4), (5, 4, 1))[0])
    links = _links(rng, [entity.name for entity in entities])
    widths = {2: (3, 4), 3: (2, 3), 4: (2, 2)}[len(entities)]
    coded = rng.choice(entities).name
    sizes = {entity.name: rng.randint(*rows) for entity in entities}
    tables = []
    for entity in entities:
        parents = [parent for child, parent in links if child == entity.name]
        columns = _columns(rng, entity, parents, rng.randint(*widths), entity.name == coded)
        tables.append(LabTable(entity.name, columns, _rows(rng, columns, sizes, entity.name)))
    return LabDatabase(db_id, tuple(tables), links)


def create_tables(connection: sqlite3.Connection, database: LabDatabase) -> None:
    """Create and fill the database's tables on an open connection."""
    for table in database.tables:
        columns = [f"{c.name} {c.type.upper()}{' PRIMARY KEY' if c.name == 'id' else ''}" for c in table.columns]
        keys = [
            f"FOREIGN KEY ({parent}_id) REFERENCES {parent} (id)"
            for child, parent in database.links
            if child == table.name
        ]
        connection.execute(f"CREATE TABLE {table.name} ({', '.join(columns + keys)})")
        marks = ", ".join("?" for _ in table.columns)
        connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", table.rows)
    connection.commit()


def schema_of(database: LabDatabase) -> Schema:
    """Return the schema exactly as the BIRD reader sees the written files."""
    tables = tuple(
        Table(
            table.name,
            tuple(
                Column(column.name, column.type, column.name == "id", column.meaning, None in table.values(column))
                for column in table.columns
            ),
        )
        for table in database.tables
    )
    keys = tuple(ForeignKey(child, f"{parent}_id", parent, "id") for child, parent in database.links)
    return Schema(database.db_id, tables, keys)


def _links(rng: random.Random, names: list[str]) -> tuple[tuple[str, str], ...]:
    """Connect the tables as a tree, each later table with an earlier one, in either direction."""
    links = []
    for position in range(1, len(names)):
        other = names[rng.randrange(position)]
        links.append((names[position], other) if rng.random() < 0.6 else (other, names[position]))
    return tuple(links)


def _columns(rng: random.Random, entity: Entity, parents: list[str], width: int, coded: bool) -> tuple[LabColumn, ...]:
    chosen = rng.sample(entity.attributes, min(width, len(entity.attributes)))
    columns = [_column(rng, words.ATTRIBUTES[name]) for name in chosen]
    if coded:
        columns[-1] = _code_column(rng)
    label = LabColumn(entity.label, "text", words.ATTRIBUTES[entity.label])
    keys = [LabColumn(f"{parent}_id", "integer") for parent in parents]
    return (LabColumn("id", "integer"), label, *columns, *keys)


def _column(rng: random.Random, attribute: Attribute) -> LabColumn:
    kind = "text" if attribute.kind is Kind.CATEGORY else "real" if attribute.step < 1 else "integer"
    return LabColumn(attribute.name, kind, attribute, nullable=rng.random() < 0.06)


def _code_column(rng: random.Random) -> LabColumn:
    topic, meanings = rng.choice(words.CODE_MEANINGS)
    letters = rng.sample(words.CODE_LETTERS, len(meanings))
    attribute = Attribute(topic, Kind.CODE, tuple(letters))
    return LabColumn(rng.choice(words.CODE_NAMES), "text", attribute, tuple(zip(meanings, letters, strict=True)))


def _rows(
    rng: random.Random, columns: tuple[LabColumn, ...], sizes: dict[str, int], name: str
) -> tuple[tuple[Cell, ...], ...]:
    count = sizes[name]
    filled = [_cells(rng, column, count, sizes) for column in columns]
    return tuple(zip(*filled, strict=True))


def _cells(rng: random.Random, column: LabColumn, count: int, sizes: dict[str, int]) -> list[Cell]:
    attribute = column.attribute
    if column.name == "id":
        return list(range(1, count + 1))
    if attribute is None:
        return [rng.randint(1, sizes[column.name.removesuffix("_id")]) for _ in range(count)]
    if attribute.kind is Kind.LABEL:
        return list(_labels(rng, attribute, count))
    if attribute.kind is Kind.NUMBER:
        cells: list[Cell] = [_number(rng, attribute) for _ in range(count)]
    else:
        pool = rng.sample(attribute.values, min(len(attribute.values), 6))
        cells = [rng.choice(pool) for _ in range(count)]
    return [None if rng.random() < 0.12 else cell for cell in cells] if column.nullable else cells


def _labels(rng: random.Random, attribute: Attribute, count: int) -> list[str]:
    if attribute.values:
        return rng.sample(attribute.values, count)
    titles = [f"{first} {second}" for first in words.TITLE_FIRST for second in words.TITLE_SECOND]
    return rng.sample(titles, count)


def _number(rng: random.Random, attribute: Attribute) -> Literal:
    steps = round((attribute.high - attribute.low) / attribute.step)
    value = attribute.low + attribute.step * rng.randint(0, steps)
    return round(value, 1) if attribute.step < 1 else int(value)
