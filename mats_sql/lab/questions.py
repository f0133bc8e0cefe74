"""Draw questions of a difficulty over a database, and keep only the good ones: executable, decisive, not trivial."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass, replace

from mats_sql.lab import challenging, moderate, simple
from mats_sql.lab.databases import LabDatabase
from mats_sql.lab.draft import Draft, Family
from mats_sql.lab.query import Query, render

FAMILIES: dict[str, tuple[tuple[Family, int], ...]] = {
    "simple": (
        (simple.list_columns, 2),
        (simple.list_filtered, 7),
        (simple.count_filtered, 6),
        (simple.aggregate, 6),
        (simple.distinct_values, 1),
        (simple.lookup, 4),
        (simple.top_one, 2),
    ),
    "moderate": (
        (moderate.two_conditions, 6),
        (moderate.extreme_row, 4),
        (moderate.top_rows, 3),
        (moderate.group, 4),
        (moderate.of_parent, 5),
        (moderate.of_child, 4),
        (moderate.side_by_side, 2),
    ),
    "challenging": (
        (challenging.beyond_average, 3),
        (challenging.without_children, 2),
        (challenging.most_children, 3),
        (challenging.frequent_values, 2),
        (challenging.common_value, 2),
        (challenging.grouped_join, 4),
        (challenging.extreme_parent, 3),
        (challenging.aggregate_of_parent, 4),
        (challenging.spread, 3),
    ),
}
SHARES = {"simple": 0.6, "moderate": 0.3, "challenging": 0.1}
"""The proportions of BIRD's difficulties."""


@dataclass(frozen=True, slots=True)
class LabQuestion:
    """A good question: its gold executes, returns rows and depends on every condition."""

    text: str
    evidence: str
    query: Query
    sql: str
    difficulty: str


def draw_question(
    rng: random.Random, database: LabDatabase, connection: sqlite3.Connection, difficulty: str, tries: int = 60
) -> LabQuestion | None:
    """Return a good question of the difficulty over a filled database, or ``None`` after ``tries`` bad draws."""
    families, weights = zip(*FAMILIES[difficulty], strict=True)
    for _ in range(tries):
        draft: Draft | None = rng.choices(families, weights)[0](rng, database)
        if draft is not None and _is_good(connection, draft.query):
            return LabQuestion(draft.text, draft.evidence, draft.query, render(draft.query), difficulty)
    return None


def rows_of(connection: sqlite3.Connection, query: Query) -> list[tuple[object, ...]]:
    """Return all rows of a query that is known to execute."""
    rows: list[tuple[object, ...]] = connection.execute(render(query)).fetchall()
    return rows


def _is_good(connection: sqlite3.Connection, query: Query) -> bool:
    rows = rows_of(connection, query)
    if not rows or all(value in (None, 0) for row in rows for value in row):
        return False
    return _conditions_matter(connection, query, rows) and _cut_is_clear(connection, query)


def _conditions_matter(connection: sqlite3.Connection, query: Query, rows: list[tuple[object, ...]]) -> bool:
    """Whether leaving out any one condition changes the answer."""
    found = set(rows)
    weaker = [replace(query, where=query.where[:i] + query.where[i + 1 :]) for i in range(len(query.where))]
    if query.having is not None:
        weaker.append(replace(query, having=None))
    return all(set(rows_of(connection, other)) != found for other in weaker)


def _cut_is_clear(connection: sqlite3.Connection, query: Query) -> bool:
    """Whether a LIMIT cuts between two different values, so that the answer does not depend on how ties fall."""
    if query.limit is None or query.order is None:
        return True
    keys = rows_of(connection, replace(query, items=(query.order,), limit=query.limit + 1))
    return len(keys) > query.limit and keys[-1] != keys[-2]
