"""Only decisive questions are kept, and a database that has no more of them says so."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from mats_sql.benchmark.leaks import normalized_text
from mats_sql.errors import ConfigError
from mats_sql.lab import words
from mats_sql.lab.databases import LabColumn, LabDatabase, LabTable, Link, build_database, create_tables
from mats_sql.lab.query import Query, Ref, map_refs, render
from mats_sql.lab.questions import LabQuestion, draw_questions

DATABASE = build_database(random.Random(4), "harbor_test", "harbor", (34, 56))


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        create_tables(opened, DATABASE)
        yield opened


@pytest.fixture(scope="module")
def drawn(connection: sqlite3.Connection) -> list[LabQuestion]:
    return draw_questions(random.Random(1), DATABASE, connection, 400, set())


def test_every_condition_changes_the_answer(connection: sqlite3.Connection, drawn: list[LabQuestion]) -> None:
    for question in drawn:
        rows = set(connection.execute(question.sql).fetchall())
        for position in range(len(question.query.where)):
            fewer = question.query.where[:position] + question.query.where[position + 1 :]
            weaker = render(replace(question.query, where=fewer))
            assert set(connection.execute(weaker).fetchall()) != rows, question.sql


def test_a_limit_never_cuts_through_a_tie(connection: sqlite3.Connection, drawn: list[LabQuestion]) -> None:
    limited = [question.query for question in drawn if question.query.limit is not None]
    assert len(limited) > 10
    for query in limited:
        assert query.order is not None
        keys = connection.execute(render(replace(query, items=(query.order,), limit=None))).fetchall()
        assert keys[query.limit - 1] != keys[query.limit], render(query)  # type: ignore[operator]


def test_no_question_shows_a_column_that_its_filter_or_the_data_makes_constant(drawn: list[LabQuestion]) -> None:
    for question in (question for question in drawn if not question.query.either):
        fixed = {c.expr.ref for c in question.query.where if c.operator == "=" and not isinstance(c.value, Query)}
        assert [item.ref for item in question.query.items if not item.function and item.ref in fixed] == []


def test_no_aggregate_is_of_the_column_that_is_filtered(drawn: list[LabQuestion]) -> None:
    for question in drawn:
        filtered = {c.expr.ref for c in question.query.where if not isinstance(c.value, Query)}
        for item in question.query.items:
            assert item.function not in ("MIN", "MAX", "AVG", "SUM") or item.ref not in filtered, question.text


def test_no_question_means_a_column_or_key_that_holds_nothing(drawn: list[LabQuestion]) -> None:
    dead = {Ref(table.name, column.name) for table in DATABASE.tables for column in table.columns if column.dead}
    dead |= {Ref(link.child, link.decoy) for link in DATABASE.links if link.decoy}
    read: set[Ref] = set()

    def note(ref: Ref) -> Ref:
        read.add(ref)
        return ref

    for question in drawn:
        map_refs(question.query, note)
    assert dead
    assert not dead & read


def test_texts_are_new_and_remembered(connection: sqlite3.Connection) -> None:
    seen: set[str] = set()
    first = draw_questions(random.Random(1), DATABASE, connection, 50, seen)
    second = draw_questions(random.Random(1), DATABASE, connection, 50, seen)
    assert len({normalized_text(question.text) for question in first + second}) == len(seen) == 100


def test_a_database_without_enough_questions_is_an_error() -> None:
    label = LabColumn("name", "text", words.ATTRIBUTES["name"])
    table = LabTable("singer", (LabColumn("id", "integer"), label), ((1, "Alice"), (2, "Hugo")))
    poor = LabDatabase("poor", (table, replace(table, name="guitar")), (Link("singer", "guitar", "guitar_id"),))
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.execute("CREATE TABLE singer (id INTEGER, name TEXT, guitar_id INTEGER)")
        opened.execute("CREATE TABLE guitar (id INTEGER, name TEXT)")
        with pytest.raises(ConfigError, match="'poor' has no 50 distinct ones"):
            draw_questions(random.Random(0), poor, opened, 50, set())
