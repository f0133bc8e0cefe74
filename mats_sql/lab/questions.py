"""Draw questions of a difficulty over a database, and keep only the good ones: executable, decisive, not trivial."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass, replace

from mats_sql.benchmark import normalized_text
from mats_sql.errors import ConfigError
from mats_sql.lab import challenging, moderate, simple
from mats_sql.lab.databases import LabDatabase
from mats_sql.lab.draft import Draft, Family
from mats_sql.lab.partition import Part, part_of
from mats_sql.lab.query import Query, render

FAMILIES: dict[str, tuple[tuple[Family, int], ...]] = {
    "simple": (
        (simple.list_columns, 1),
        (simple.list_filtered, 8),
        (simple.count_filtered, 6),
        (simple.aggregate, 6),
        (simple.distinct_values, 1),
        (simple.lookup, 3),
        (simple.top_one, 2),
    ),
    "moderate": (
        (moderate.two_conditions, 6),
        (moderate.extreme_row, 4),
        (moderate.top_rows, 2),
        (moderate.group, 3),
        (moderate.of_linked, 7),
        (moderate.count_linked, 5),
        (moderate.side_by_side, 3),
    ),
    "challenging": (
        (challenging.beyond_average, 3),
        (challenging.without_linked, 1),
        (challenging.most_linked, 3),
        (challenging.count_each, 1),
        (challenging.frequent_values, 2),
        (challenging.common_value, 2),
        (challenging.grouped_join, 3),
        (challenging.extreme_linked, 4),
        (challenging.aggregate_linked, 4),
        (challenging.three_tables, 6),
        (challenging.percentage, 4),
        (challenging.formula, 4),
        (challenging.count_difference, 2),
        (challenging.tied_rows, 3),
        (challenging.spread, 2),
    ),
}
SHARES = {"simple": 0.6, "moderate": 0.3, "challenging": 0.1}
"""The proportions of BIRD's difficulties."""

_MAX_DRAWS = 240
_MAX_BARREN_DRAWS = 60
"""Questions in a row that repeat one or were not found, after which a database counts as exhausted."""


@dataclass(frozen=True, slots=True)
class LabQuestion:
    """A good question: its gold executes, returns rows and depends on every condition."""

    text: str
    evidence: str
    query: Query
    sql: str
    difficulty: str


def draw_question(
    rng: random.Random, database: LabDatabase, connection: sqlite3.Connection, difficulty: str, part: Part
) -> LabQuestion | None:
    """Return a good question of the difficulty over a filled database whose text is in the part.

    ``None`` after 240 draws that are bad or in the other part.
    """
    families, weights = zip(*FAMILIES[difficulty], strict=True)
    for _ in range(_MAX_DRAWS):
        draft: Draft | None = rng.choices(families, weights)[0](rng, database)
        if draft is not None and part_of(draft.text) is part and _is_good(connection, draft.query):
            return LabQuestion(draft.text, draft.evidence, draft.query, render(draft.query), difficulty)
    return None


def draw_questions(
    rng: random.Random, database: LabDatabase, connection: sqlite3.Connection, count: int, seen: set[str]
) -> list[LabQuestion]:
    """Return ``count`` good questions in BIRD's proportions, for a benchmark: pretraining never asks their texts.

    The texts are new to ``seen``, and enter it, as :func:`normalized_text` has them; no two have one gold.
    Raises :class:`ConfigError` when the database does not yield that many.
    """
    drawn: dict[str, LabQuestion] = {}
    for difficulty in _difficulties(rng, count):
        question, barren = None, 0
        while question is None:
            question = draw_question(rng, database, connection, difficulty, Part.BENCHMARK)
            if question is None or question.sql in drawn or normalized_text(question.text) in seen:
                question, barren = None, barren + 1
            if barren > _MAX_BARREN_DRAWS:
                raise ConfigError(
                    f"a lab database must yield its questions, but {database.db_id!r} has no {count} distinct ones; "
                    "ask for fewer questions or more databases"
                )
        seen.add(normalized_text(question.text))
        drawn[question.sql] = question
    return list(drawn.values())


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


def _difficulties(rng: random.Random, count: int) -> list[str]:
    """Return a shuffled list of ``count`` difficulties in BIRD's proportions, rounded by chance."""
    exact = {name: share * count for name, share in SHARES.items()}
    counts = {name: int(value) for name, value in exact.items()}
    rest = {name: exact[name] - counts[name] for name in exact}
    extra = count - sum(counts.values())
    names = rng.choices(list(rest), [value + 1e-9 for value in rest.values()], k=extra)
    plan = [name for name, number in counts.items() for _ in range(number)] + names
    rng.shuffle(plan)
    return plan
