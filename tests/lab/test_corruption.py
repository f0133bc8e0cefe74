"""Corruptions differ from gold, are mostly wrong when executed, and some fail to execute."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from mats_sql.lab.corruption import corrupt
from mats_sql.lab.examples import run_sql
from tests.lab.asked import Asked, asked_of


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with asked_of(3, ("music", "harbor", "farm", "cinema"), 12) as found:
        yield found


def test_a_corrupted_sql_never_reads_like_gold(asked: Asked) -> None:
    rng = random.Random(0)
    for database, _, question in asked:
        assert corrupt(rng, question.query, database) != question.sql


def test_corrupted_sql_is_mostly_wrong_and_sometimes_fails_to_execute(asked: Asked) -> None:
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    for database, connection, question in asked * 3:
        gold = run_sql(connection, question.sql)
        execution, rows = run_sql(connection, corrupt(rng, question.query, database))
        outcomes["error" if not execution.ran else "right" if rows == gold[1] else "wrong"] += 1
    total = outcomes.total()
    assert outcomes["wrong"] / total > 0.5, outcomes
    assert 0.15 < outcomes["error"] / total < 0.45, outcomes


def test_equal_randomness_gives_equal_corruption(asked: Asked) -> None:
    database, _, question = asked[0]
    assert corrupt(random.Random(9), question.query, database) == corrupt(random.Random(9), question.query, database)
