"""A question in the making, and what a family of questions needs to draw one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from mats_sql.lab.databases import LabColumn, LabDatabase, LabTable
from mats_sql.lab.phrases import Filter, random_filter
from mats_sql.lab.query import Join, Query, Ref
from mats_sql.lab.words import Kind


@dataclass(frozen=True, slots=True)
class Draft:
    """A question's text, its gold query and the evidence it needs; not yet known to be a good question."""

    text: str
    query: Query
    evidence: str = ""


Family = Callable[[random.Random, LabDatabase], Draft | None]
"""Draws one question of a kind, or ``None`` when the database does not offer it."""


def shown_columns(table: LabTable) -> list[LabColumn]:
    """Return the columns a question may ask for: all but keys and codes."""
    return table.of_kind(Kind.LABEL, Kind.CATEGORY, Kind.NUMBER)


def complete_numbers(table: LabTable) -> list[LabColumn]:
    """Return the number columns without missing values, the only ones whose order is beyond doubt."""
    return [column for column in table.of_kind(Kind.NUMBER) if None not in table.values(column)]


def pick_table(rng: random.Random, database: LabDatabase) -> LabTable:
    """Return a random table."""
    return rng.choice(database.tables)


def pick_link(rng: random.Random, database: LabDatabase) -> tuple[LabTable, LabTable, Join, Join]:
    """Return a random (child, parent) and the joins that add the parent to the child and the child to the parent."""
    child, parent = rng.choice(database.links)
    near, far = Ref(child, f"{parent}_id"), Ref(parent, "id")
    return database.table(child), database.table(parent), Join(parent, near, far), Join(child, far, near)


def pick_filter(rng: random.Random, table: LabTable, tries: int = 4) -> Filter | None:
    """Return a random filter on the table."""
    for _ in range(tries):
        found = random_filter(rng, table)
        if found is not None:
            return found
    return None
