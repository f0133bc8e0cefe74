from __future__ import annotations

import sqlite3
from collections import Counter

import pytest

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.usable import Exclusion, usable_questions
from mats_sql.config import SqlLimits
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.executor import SqlExecutor, SqlRequest


def execute(database, sql) -> Execution:
    connection = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
    try:
        rows = connection.execute(sql).fetchall()
    except sqlite3.Error as error:
        return Execution(Outcome.ERROR, error=str(error))
    finally:
        connection.close()
    return Execution(Outcome.ROWS if rows else Outcome.EMPTY, row_count=len(rows))


def executions(benchmark) -> dict[int, Execution]:
    return {
        question_id: execute(benchmark.databases[gold.db_id], gold.sql)
        for question_id, gold in benchmark.golds.items()
        if gold.db_id in benchmark.databases
    }


def test_a_gold_that_does_not_execute_excludes_its_question_with_the_error(bird_folder):
    benchmark = read_bird(bird_folder.write(), "dev")
    usable = usable_questions(benchmark, executions(benchmark))
    assert [question.question_id for question in usable.questions] == [7, 8]
    assert usable.excluded == (Exclusion(9, "school", "gold does not execute: no such table: nowhere"),)


REASONS = [
    (Outcome.TIMEOUT, "gold timed out"),
    (Outcome.TOO_BIG, "gold result is too big"),
    (Outcome.REFUSED, "gold was refused: why"),
    (Outcome.ERROR, "gold does not execute: why"),
]


@pytest.mark.parametrize(("outcome", "reason"), REASONS)
def test_every_other_outcome_has_its_reason(bird_folder, outcome, reason):
    benchmark = read_bird(bird_folder.write(), "dev")
    usable = usable_questions(benchmark, {i: Execution(outcome, error="why") for i in (7, 8, 9)})
    assert usable.questions == ()
    assert {exclusion.reason for exclusion in usable.excluded} == {reason}


def test_an_empty_result_is_usable(bird_folder):
    benchmark = read_bird(bird_folder.write(), "dev")
    usable = usable_questions(benchmark, {i: Execution(Outcome.EMPTY) for i in (7, 8, 9)})
    assert len(usable.questions) == 3


def test_a_missing_database_excludes_its_questions(bird_folder):
    bird_folder.database("school").unlink()
    usable = usable_questions(read_bird(bird_folder.write(), "dev"), {})
    assert [exclusion.reason for exclusion in usable.excluded] == ["database missing"] * 3


def test_a_gold_that_was_not_executed_is_a_mistake_and_not_a_reason(bird_folder):
    benchmark = read_bird(bird_folder.write(), "dev")
    with pytest.raises(ValueError, match="question 7"):
        usable_questions(benchmark, {})


def test_bird_dev_has_287_usable_questions_where_two_databases_are_at_hand(shared_data):
    benchmark = read_bird(shared_data / "bird", "dev")
    golds = [gold for gold in benchmark.golds.values() if gold.db_id in benchmark.databases]
    with SqlExecutor(SqlLimits(), 1) as sql:
        requests = [SqlRequest(benchmark.databases[gold.db_id], gold.sql) for gold in golds]
        results = dict(zip((gold.question_id for gold in golds), sql.execute_many(requests), strict=True))
    usable = usable_questions(benchmark, results)
    assert len(usable.questions) == 287
    assert Counter(exclusion.reason for exclusion in usable.excluded) == {"database missing": 1247}
