"""A question in the making, and what a family of questions needs to draw one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from mats_sql.lab.databases import LabColumn, LabDatabase, LabTable, Link
from mats_sql.lab.phrases import Filter, plural, random_filter
from mats_sql.lab.query import Condition, Join, Query, Ref
from mats_sql.lab.words import Kind


@dataclass(frozen=True, slots=True)
class Draft:
    """A question's text, its gold query and the evidence it needs; not yet known to be a good question."""

    text: str
    query: Query
    evidence: str = ""


Family = Callable[[random.Random, LabDatabase], Draft | None]
"""Draws one question of a kind, or ``None`` when the database does not offer it."""


@dataclass(frozen=True, slots=True)
class Linked:
    """Two tables that a foreign key connects, seen from the one that is asked about; ``join`` adds the other."""

    table: LabTable
    other: LabTable
    join: Join
    to_many: bool

    @property
    def near(self) -> Ref:
        """The asked table's side of the connection."""
        return self.join.left


@dataclass(frozen=True, slots=True)
class Subject:
    """The rows of a table that a question is about, as it names them: all, or those that a filter keeps."""

    named: str
    kept: Filter | None = None

    @property
    def where(self) -> tuple[Condition, ...]:
        """The filter's condition, if there is one."""
        return (self.kept.condition,) if self.kept else ()

    @property
    def evidence(self) -> str:
        """The evidence that the filter needs."""
        return self.kept.evidence if self.kept else ""


def shown_columns(table: LabTable) -> list[LabColumn]:
    """Return the columns a question may ask for: all but keys and codes, and none that is constant."""
    columns = table.of_kind(Kind.LABEL, Kind.CATEGORY, Kind.NUMBER)
    return [column for column in columns if len(set(table.values(column))) > 1]


def plain_numbers(table: LabTable) -> list[LabColumn]:
    """Return the number columns that are stored as numbers and have no missing values: formulas are over them."""
    numbers = table.of_kind(Kind.NUMBER)
    return [column for column in numbers if not column.cast and None not in table.values(column)]


def pick_table(rng: random.Random, database: LabDatabase) -> LabTable:
    """Return a random table."""
    return rng.choice(database.tables)


def pick_link(rng: random.Random, database: LabDatabase) -> Linked:
    """Return a random link, seen from a random one of its tables."""
    return see(database, rng.choice(database.links), rng.random() < 0.6)


def see(database: LabDatabase, link: Link, from_child: bool) -> Linked:
    """Return a link as seen from its child or its parent."""
    key, row = Ref(link.child, link.key), Ref(link.parent, "id")
    child, parent = database.table(link.child), database.table(link.parent)
    if from_child:
        return Linked(child, parent, Join(parent.name, key, row), False)
    return Linked(parent, child, Join(child.name, row, key), True)


def pick_chain(rng: random.Random, database: LabDatabase) -> tuple[Linked, Linked] | None:
    """Return two links in a row: the first leads to the table from which the second leads on."""
    first = pick_link(rng, database)
    onwards = [
        see(database, link, link.child == first.other.name)
        for link in database.links
        if first.other.name in (link.child, link.parent) and first.table.name not in (link.child, link.parent)
    ]
    return (first, rng.choice(onwards)) if onwards else None


def pick_filter(rng: random.Random, table: LabTable, tries: int = 4) -> Filter | None:
    """Return a random filter on the table."""
    for _ in range(tries):
        found = random_filter(rng, table)
        if found is not None:
            return found
    return None


def pick_subject(rng: random.Random, table: LabTable, filtered: float, about: LabColumn) -> Subject | None:
    """Return a table's rows, a part of the time those that a filter keeps.

    ``None`` for a filter that reads the column the question is about: the answer would be in the question.
    """
    found = pick_filter(rng, table) if rng.random() < filtered else None
    if found is not None and found.reads(about):
        return None
    return Subject(found.phrase(plural(table.name)) if found else plural(table.name), found)
