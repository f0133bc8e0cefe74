"""Slips of the pen in a SQL's text: names and words not copied well, a table unsaid, an end that is missing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import partial

from mats_sql.lab.invention import cross, mistake
from mats_sql.lab.query import Query


def slip(rng: random.Random, sql: str, query: Query, crossed_share: float = 0) -> str:
    """Return the SQL, which reads the query's tables, with one slip; as it is where the slip finds no place."""
    slips: dict[Callable[[random.Random, str, Query], str], float] = {
        partial(misname_table, crossed_share=crossed_share): 4,
        miswrite_value: 4,
        leave_unqualified: 3,
        break_off: 1,
    }
    return rng.choices(list(slips), list(slips.values()))[0](rng, sql, query)


def misname_table(rng: random.Random, sql: str, query: Query, *, crossed_share: float = 0) -> str:
    """Miswrite a table's name in one place or in all, its keys' names included.

    ``crossed_share`` says how often it becomes a cross with another table's name, where the query reads several.
    """
    name = rng.choice(query.tables)
    other = rng.choice(query.tables) if crossed_share else name
    made = cross(rng, name, other) if other != name and rng.random() < crossed_share else mistake(rng, name)
    places = list(re.finditer(rf"\b{name}(?=\b|_(?:id|ref)\b)", sql))
    if places and rng.random() < 0.4:
        places = [rng.choice(places)]
    for place in reversed(places):
        sql = sql[: place.start()] + made + sql[place.end() :]
    return sql


def miswrite_value(rng: random.Random, sql: str, _query: Query) -> str:
    """Miswrite a word of a text that the SQL compares with."""
    quoted = [match.span() for match in re.finditer(r"'[^']*'", sql)]
    places = [
        (start + word.start(), start + word.end())
        for start, end in quoted
        for word in re.finditer(r"[A-Za-z]{3,}", sql[start:end])
    ]
    if not places:
        return sql
    start, end = rng.choice(places)
    return sql[:start] + mistake(rng, sql[start:end]) + sql[end:]


def leave_unqualified(rng: random.Random, sql: str, query: Query) -> str:
    """Leave a column's table unsaid."""
    prefix = rng.choice(query.tables) + "."
    places = [place for place in range(len(sql)) if sql.startswith(prefix, place)]
    if not places:
        return sql
    place = rng.choice(places)
    return sql[:place] + sql[place + len(prefix) :]


def break_off(rng: random.Random, sql: str, _query: Query) -> str:
    """Stop before the end."""
    pieces = sql.split(" ")
    return " ".join(pieces[: rng.randint(len(pieces) // 2, len(pieces) - 1)])
