"""Two spellings of one random query are approved; the same query with one part changed is not."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
from mats_sql.teaching.teacher import write_critique

SCHEMA = Schema(
    "music",
    (
        Table("singer", (Column("id", "integer", True), Column("name", "text"), Column("age", "integer"))),
        Table("concert", (Column("cid", "integer", True), Column("singer_id", "integer"), Column("year", "integer"))),
    ),
    (ForeignKey("concert", "singer_id", "singer", "id"),),
)
COLUMNS = [("singer", "name"), ("singer", "age"), ("concert", "cid"), ("concert", "year")]


@dataclass(frozen=True)
class Ask:
    """A query over both tables, before it is written down."""

    selected: tuple[tuple[str, str], ...]
    filters: frozenset[tuple[tuple[str, str], str, int]]
    order: tuple[str, str] | None
    limit: int | None


def written(ask: Ask, style: random.Random) -> str:
    """Write a query in one of its many spellings."""
    aliases = style.choice([{}, {"singer": "T1", "concert": "T2"}, {"singer": "a", "concert": "b"}])
    bare = style.random() < 0.3

    def column(name: tuple[str, str]) -> str:
        spelled = style.choice([str.lower, str.upper])(name[1])
        return spelled if bare else f"{aliases.get(name[0], name[0])}.{style.choice([spelled, f'`{name[1]}`'])}"

    def compared(name: tuple[str, str], operator: str, value: int) -> str:
        mirrored = {">": "<", "<": ">", "=": "=", "<>": "!="}[operator]
        return style.choice([f"{column(name)} {operator} {value}", f"{value} {mirrored} {column(name)}"])

    tables = [f"{name} {aliases.get(name, '')}".strip() for name in ("singer", "concert")]
    edge = f"{column(('singer', 'id'))} = {column(('concert', 'singer_id'))}"
    filters = [compared(*part) for part in sorted(ask.filters)]
    style.shuffle(tables)
    style.shuffle(filters)
    sql = f"SELECT {', '.join(map(column, ask.selected))} FROM "
    if style.random() < 0.5:
        sql += " JOIN ".join(tables) + f" ON {edge}"
    else:
        sql += ", ".join(tables)
        filters.append(edge)
    sql += f" WHERE {' AND '.join(filters)}" if filters else ""
    sql += f" ORDER BY {column(ask.order)}{style.choice(['', ' ASC'])}" if ask.order else ""
    return sql + (f" LIMIT {ask.limit}" if ask.limit else "")


asks = st.builds(
    Ask,
    st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3, unique=True).map(tuple),
    st.frozensets(
        st.tuples(st.sampled_from(COLUMNS), st.sampled_from(["<", ">", "=", "<>"]), st.integers(0, 3)), max_size=3
    ),
    st.none() | st.sampled_from(COLUMNS),
    st.none() | st.integers(1, 3),
)
styles = st.randoms(use_true_random=False)


def verdicts(ask: Ask, other: Ask, style: random.Random) -> dict[Validator, Verdict]:
    sql, gold = written(ask, style), written(other, style)
    return {validator: write_critique(validator, sql, gold, SCHEMA).verdict for validator in Validator}


@settings(max_examples=200, deadline=None)
@given(asks, styles)
def test_two_spellings_of_one_query_are_approved(ask: Ask, style: random.Random) -> None:
    assert set(verdicts(ask, ask, style).values()) == {Verdict.CORRECT}


@settings(max_examples=200, deadline=None)
@given(asks, asks, styles)
def test_a_validator_complains_exactly_when_its_part_of_the_query_differs(
    ask: Ask, other: Ask, style: random.Random
) -> None:
    found = verdicts(ask, other, style)
    assert (found[Validator.SELECT] is Verdict.CORRECT) == (ask.selected == other.selected)
    same_condition = replace(ask, selected=other.selected) == other
    assert (found[Validator.CONDITION] is Verdict.CORRECT) == same_condition
