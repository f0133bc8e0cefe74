"""Procedural databases: a theme's entities become tables with foreign keys, typed rows and a few descriptions.

As in real databases, not everything is what its name says: words are stored in other forms (``forms``), numbers as
text, of two columns or keys with like names one may hold nothing. Which of them does cannot be told from a prompt; an
execution shows it.
"""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass, replace

from mats_sql.benchmark import Column, ForeignKey, Schema, Table
from mats_sql.lab import words
from mats_sql.lab.forms import Form, draw_form, spell_all
from mats_sql.lab.invention import invent_kin, invent_like, invent_table
from mats_sql.lab.query import Literal, Ref
from mats_sql.lab.words import Attribute, Entity, Kind

Cell = Literal | None

TEXT_NUMBER_SHARE = 0.12
"""Part of the number columns that hold their numbers as text."""
NULLABLE_SHARE = 0.14
"""Part of the columns with missing values."""
TWIN_SHARE = 0.40
"""Part of the tables in which one number has two columns, of which one holds only zeros."""
DECOY_SHARE = 0.50
"""Part of the links that two key columns claim, of which one refers to no row."""
INVENTED_SHARE = 0.25
"""Part of a pretraining database's entities, words and names that are invented: they are to be copied, not known."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Which words a database may use: benchmarks use all of the lists, pretraining a part, and invents others.

    ``twin_share`` of the tables have a number under two names, ``decoy_share`` of the links a key. ``any_twin`` says
    that this number is any of all, not one of its table's own: a name that few tables have is otherwise too seldom seen
    to be copied. In ``kin_share`` of the databases two tables have invented names of a like inside.
    """

    for_pretraining: bool = False
    twin_share: float = TWIN_SHARE
    decoy_share: float = DECOY_SHARE
    any_twin: bool = False
    kin_share: float = 0

    def values(self, rng: random.Random, attribute: Attribute) -> tuple[str, ...]:
        """Return the words that a column of the attribute may hold."""
        return attribute.values if attribute.kind is Kind.CODE else self._some_invented(rng, attribute.values)

    def titles(self, rng: random.Random) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the first and second words of titles."""
        return self._some_invented(rng, words.TITLE_FIRST), self._some_invented(rng, words.TITLE_SECOND)

    def entities(self, rng: random.Random, drawn: list[Entity]) -> list[Entity]:
        """Return the drawn entities, some under invented names for pretraining."""
        if not self.for_pretraining:
            return drawn
        named = [replace(e, name=invent_table(rng)) if rng.random() < INVENTED_SHARE else e for e in drawn]
        if self.kin_share and rng.random() < self.kin_share:
            for place, name in zip(rng.sample(range(len(named)), 2), invent_kin(rng), strict=True):
                named[place] = replace(named[place], name=name)
        return named

    def _some_invented(self, rng: random.Random, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return a list as it is for benchmarks; for pretraining without the reserved words, and some invented."""
        if not self.for_pretraining:
            return values
        drawn = (invent_like(rng, word) if rng.random() < INVENTED_SHARE else word for word in words.open_words(values))
        return tuple(dict.fromkeys(drawn))


ALL_WORDS = Vocabulary()
PRETRAINING_WORDS = Vocabulary(for_pretraining=True, twin_share=0.24, decoy_share=0.35)
REVIEW_WORDS = Vocabulary(for_pretraining=True, twin_share=0.6, decoy_share=0.6, any_twin=True, kin_share=0.4)
"""What reviews come back to: the names that a second look fails to copy are numbers kept twice, keys' endings, and
words of several tokens of which another has one."""


@dataclass(frozen=True, slots=True)
class LabColumn:
    """A column with what its word means; keys have no ``attribute``.

    ``codes`` pairs words with their letters, ``spoken`` with the form in which they are stored. ``twin`` is the other
    column of the same attribute; ``dead`` says that this one holds nothing, so that no question means it.
    """

    name: str
    type: str
    attribute: Attribute | None = None
    codes: tuple[tuple[str, str], ...] = ()
    nullable: bool = False
    form: Form = Form.PLAIN
    spoken: tuple[tuple[str, str], ...] = ()
    twin: str = ""
    dead: bool = False

    @property
    def word(self) -> str:
        """How a question calls the column."""
        return self.attribute.name if self.attribute else self.name

    @property
    def meaning(self) -> str:
        """The value description of a code column, empty for any other."""
        if self.attribute is None or not self.codes:
            return ""
        return self.attribute.name + " : " + " , ".join(f"{letter} = {word}" for word, letter in self.codes)

    @property
    def cast(self) -> str:
        """The type that a number stored as text must be read as, empty for any other column."""
        if self.attribute is None or self.attribute.kind is not Kind.NUMBER or self.type != "text":
            return ""
        return "REAL" if self.attribute.step < 1 else "INTEGER"

    def said(self, stored: Literal) -> Literal:
        """Return how a question says a stored value."""
        if self.cast:
            return float(stored) if self.cast == "REAL" else int(stored)
        return next((word for word, form in self.spoken if form == stored), stored)


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
        """Return the living columns whose attribute is of one of the kinds."""
        return [c for c in self.columns if c.attribute and c.attribute.kind in kinds and not c.dead]


@dataclass(frozen=True, slots=True)
class Link:
    """``child.key`` refers to ``parent.id``; ``decoy`` is a key column that claims to, and refers to no row."""

    child: str
    parent: str
    key: str
    decoy: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns in the order of their names."""
        return tuple(sorted(name for name in (self.key, self.decoy) if name))


@dataclass(frozen=True, slots=True)
class LabDatabase:
    """A generated database."""

    db_id: str
    tables: tuple[LabTable, ...]
    links: tuple[Link, ...] = ()

    def table(self, name: str) -> LabTable:
        """Return the table of that name."""
        return next(table for table in self.tables if table.name == name)

    def column(self, ref: Ref) -> LabColumn | None:
        """Return a column; ``None`` for one that a corruption made up."""
        return next((column for column in self.table(ref.table).columns if column.name == ref.column), None)


def build_database(
    rng: random.Random, db_id: str, theme: str, rows: tuple[int, int], vocabulary: Vocabulary = ALL_WORDS
) -> LabDatabase:
    """Return a random database over a theme's entities with a number of rows per table in the range ``rows``."""
    count = rng.choices((3, 4, 5), (6, 3, 1))[0]
    entities = vocabulary.entities(rng, rng.sample(words.THEMES[theme], count))
    links = _links(rng, [entity.name for entity in entities], vocabulary)
    widths = {3: (2, 3), 4: (2, 3), 5: (2, 2)}[count]
    coded = rng.choice(entities).name
    sizes = {entity.name: rng.randint(*rows) for entity in entities}
    tables = []
    for entity in entities:
        keys = [key for link in links if link.child == entity.name for key in link.keys]
        columns = _columns(rng, entity, keys, rng.randint(*widths), entity.name == coded, vocabulary)
        tables.append(_table(rng, entity.name, columns, sizes, links, vocabulary))
    return LabDatabase(db_id, tuple(tables), links)


def create_tables(connection: sqlite3.Connection, database: LabDatabase) -> None:
    """Create and fill the database's tables on an open connection."""
    for table in database.tables:
        columns = [f"{c.name} {c.type.upper()}{' PRIMARY KEY' if c.name == 'id' else ''}" for c in table.columns]
        keys = [f"FOREIGN KEY ({key}) REFERENCES {parent} (id)" for key, parent in _keys_of(database, table.name)]
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
    keys = tuple(ForeignKey(link.child, key, link.parent, "id") for link in database.links for key in link.keys)
    return Schema(database.db_id, tables, keys)


def _keys_of(database: LabDatabase, child: str) -> list[tuple[str, str]]:
    return [(key, link.parent) for link in database.links if link.child == child for key in link.keys]


def _links(rng: random.Random, names: list[str], vocabulary: Vocabulary) -> tuple[Link, ...]:
    """Connect the tables as a tree, each later table with an earlier one, in either direction."""
    links = []
    for position in range(1, len(names)):
        other = names[rng.randrange(position)]
        child, parent = (names[position], other) if rng.random() < 0.6 else (other, names[position])
        key, decoy = f"{parent}_id", ""
        if rng.random() < vocabulary.decoy_share:
            key, decoy = rng.sample((key, f"{parent}_ref"), 2)
        links.append(Link(child, parent, key, decoy))
    return tuple(links)


def _columns(
    rng: random.Random, entity: Entity, keys: list[str], width: int, coded: bool, vocabulary: Vocabulary
) -> tuple[LabColumn, ...]:
    chosen = rng.sample(entity.attributes, min(width, len(entity.attributes)))
    columns = [_column(rng, words.ATTRIBUTES[name]) for name in chosen]
    if coded:
        columns[-1] = _code_column(rng)
    if rng.random() < vocabulary.twin_share:
        columns = _with_twin(rng, columns, any_number=vocabulary.any_twin)
    label = LabColumn(entity.label, "text", words.ATTRIBUTES[entity.label])
    return (LabColumn("id", "integer"), label, *columns, *(LabColumn(key, "integer") for key in keys))


def _column(rng: random.Random, attribute: Attribute) -> LabColumn:
    nullable = rng.random() < NULLABLE_SHARE
    if attribute.kind is Kind.CATEGORY:
        return LabColumn(attribute.name, "text", attribute, nullable=nullable, form=draw_form(rng))
    kind = "text" if rng.random() < TEXT_NUMBER_SHARE else "real" if attribute.step < 1 else "integer"
    return LabColumn(attribute.name, kind, attribute, nullable=nullable)


def _other_number(rng: random.Random, columns: list[LabColumn]) -> LabColumn:
    """Return a column of any number that the table has not."""
    names = {column.name for column in columns}
    others = [a for a in words.ATTRIBUTES.values() if a.kind is Kind.NUMBER and a.name not in names]
    return _column(rng, rng.choice(others))


def _with_twin(rng: random.Random, columns: list[LabColumn], *, any_number: bool) -> list[LabColumn]:
    """Give the first number, or any in its place, a second column; one of the two, by chance, holds only zeros."""
    for position, column in enumerate(columns):
        if column.attribute is not None and column.attribute.kind is Kind.NUMBER:
            number = _other_number(rng, columns) if any_number else column
            names = words.twins_of(number.name)
            dead = rng.randrange(2)
            pair = [
                replace(number, name=name, twin=names[1 - i], dead=i == dead, nullable=number.nullable and i != dead)
                for i, name in enumerate(names)
            ]
            return [*columns[:position], *pair, *columns[position + 1 :]]
    return columns


def _code_column(rng: random.Random) -> LabColumn:
    topic, meanings = rng.choice(words.CODE_MEANINGS)
    letters = rng.sample(words.CODE_LETTERS, len(meanings))
    attribute = Attribute(topic, Kind.CODE, tuple(letters))
    return LabColumn(rng.choice(words.CODE_NAMES), "text", attribute, tuple(zip(meanings, letters, strict=True)))


def _table(
    rng: random.Random,
    name: str,
    columns: tuple[LabColumn, ...],
    sizes: dict[str, int],
    links: tuple[Link, ...],
    vocabulary: Vocabulary,
) -> LabTable:
    count = sizes[name]
    parents = {key: sizes[link.parent] for link in links if link.child == name for key in (link.key,)}
    finished, filled = [], []
    for column in columns:
        if column.attribute is None:
            finished.append(column)
            filled.append(_key_cells(rng, column, count, parents))
        else:
            kept, cells = _cells(rng, column, column.attribute, count, vocabulary)
            finished.append(kept)
            filled.append([None if column.nullable and rng.random() < 0.12 else cell for cell in cells])
    return LabTable(name, tuple(finished), tuple(zip(*filled, strict=True)))


def _key_cells(rng: random.Random, column: LabColumn, count: int, parents: dict[str, int]) -> list[Cell]:
    """Return primary keys, foreign keys, or a decoy's keys, which lie beyond every table's last row."""
    if column.name == "id":
        return list(range(1, count + 1))
    if column.name in parents:
        return [rng.randint(1, parents[column.name]) for _ in range(count)]
    return [rng.randint(500, 999) for _ in range(count)]


def _cells(
    rng: random.Random, column: LabColumn, attribute: Attribute, count: int, vocabulary: Vocabulary
) -> tuple[LabColumn, list[Cell]]:
    """Return a column's values, and the column with the words they stand for."""
    if attribute.kind is Kind.LABEL:
        return column, list(_labels(rng, vocabulary.values(rng, attribute), count, vocabulary))
    if attribute.kind is Kind.NUMBER:
        numbers: list[Literal] = [0 if column.dead else _number(rng, attribute) for _ in range(count)]
        return column, [str(number) for number in numbers] if column.cast else list(numbers)
    values = vocabulary.values(rng, attribute)
    spelled = spell_all(rng, rng.sample(values, min(len(values), 6)), column.form)
    cells: list[Cell] = [rng.choice(list(spelled.values())) for _ in range(count)]
    return replace(column, spoken=tuple(spelled.items())), cells


def _labels(rng: random.Random, names: tuple[str, ...], count: int, vocabulary: Vocabulary) -> list[str]:
    if len(names) >= count:
        return rng.sample(names, count)
    first, second = vocabulary.titles(rng)
    titles = [f"{one} {other}" for one in first for other in second]
    return rng.sample(titles, count)


def _number(rng: random.Random, attribute: Attribute) -> Literal:
    steps = round((attribute.high - attribute.low) / attribute.step)
    value = attribute.low + attribute.step * rng.randint(0, steps)
    return round(value, 1) if attribute.step < 1 else int(value)
