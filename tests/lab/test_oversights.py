"""Oversights are mistakes that an execution or the schema shows, each of its own kind."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from mats_sql.lab import oversights
from mats_sql.lab.examples import run_sql
from mats_sql.lab.oversights import OVERSIGHTS, Edit, overlook
from mats_sql.lab.query import render
from mats_sql.sql import Execution, Outcome
from tests.lab.asked import Asked, asked_of


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with asked_of(5, ("music", "harbor", "farm", "cinema", "shop", "museum"), 24) as found:
        yield found


def made_by(edit: Edit, asked: Asked) -> list[tuple[str, str, Execution]]:
    """Return gold, the changed SQL and its execution wherever the oversight changes anything."""
    rng = random.Random(0)
    found = []
    for database, connection, question in asked:
        changed = edit(rng, question.query, database)
        if changed is not None and render(changed) != question.sql:
            found.append((question.sql, render(changed), run_sql(connection, render(changed))[0]))
    return found


@pytest.mark.parametrize("edit", OVERSIGHTS, ids=lambda edit: edit.__name__)
def test_every_oversight_finds_its_place_in_some_questions(edit: Edit, asked: Asked) -> None:
    assert made_by(edit, asked)


def test_a_misnamed_column_is_not_there(asked: Asked) -> None:
    found = made_by(oversights.misname_column, asked)
    missing = [execution for _, _, execution in found if execution.error.startswith("no such column")]
    assert len(missing) > 0.8 * len(found), "the others read a dead column or key that is there"


def test_a_turned_link_looks_for_the_key_where_it_is_not(asked: Asked) -> None:
    for gold, _, execution in made_by(oversights.turn_link, asked):
        assert " JOIN " in gold
        assert execution.error.startswith("no such column")


def test_a_misspelt_word_is_mostly_one_that_no_row_has_and_the_response_names_what_is_near(asked: Asked) -> None:
    found = made_by(oversights.misspell, asked)
    assert sum(bool(execution.nearest) for _, _, execution in found) > 0.8 * len(found)


def test_a_dead_key_or_column_runs(asked: Asked) -> None:
    for edit in (oversights.take_decoy, oversights.take_twin):
        assert all(execution.outcome is not Outcome.ERROR for _, _, execution in made_by(edit, asked))


def test_a_forgotten_condition_leaves_one(asked: Asked) -> None:
    for gold, sql, _ in made_by(oversights.forget_condition, asked):
        assert len(sql) < len(gold)
        assert "WHERE" in sql


def test_sometimes_several_things_are_overlooked_at_once(asked: Asked) -> None:
    rng = random.Random(1)
    singles: set[str] = set()
    few = asked[:80]
    for _ in range(12):
        for database, _, question in few:
            for edit in OVERSIGHTS:
                changed = edit(rng, question.query, database)
                singles |= set() if changed is None else {render(changed)}
    many = [overlook(rng, question.query, database) for database, _, question in few]
    drawn = [render(query) for query in many if query is not None]
    assert 0.05 < sum(sql not in singles for sql in drawn) / len(drawn) < 0.5
