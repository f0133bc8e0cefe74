"""The teacher on BIRD's own gold queries and on what real systems wrote for them."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.agents.planner import parse_plan
from mats_sql.benchmark.benchmark import Benchmark
from mats_sql.benchmark.bird import read_bird
from mats_sql.teaching.outline.outline import outline
from mats_sql.teaching.teacher import statement, write_critique, write_plan


@pytest.fixture(scope="module")
def bird(shared: Path) -> Benchmark:
    return read_bird(shared / "data" / "bird", "dev")


def test_every_bird_gold_has_an_outline_a_plan_and_the_approval_of_both_validators(bird: Benchmark) -> None:
    assert len(bird.golds) == 1534
    for gold in bird.golds.values():
        schema = bird.schemas[gold.db_id]
        assert outline(gold.sql, schema) is not None, gold
        assert parse_plan(write_plan(gold.sql, schema)).sql == statement(gold.sql), gold
        for validator in Validator:
            assert write_critique(validator, gold.sql, gold.sql, schema).verdict is Verdict.CORRECT, gold


def test_every_column_of_every_bird_gold_is_found_in_its_schema(bird: Benchmark) -> None:
    from sqlglot import exp

    for gold in bird.golds.values():
        found = outline(gold.sql, bird.schemas[gold.db_id])
        assert found is not None
        for select in found.query.selects:
            for part in (*select.projections, *select.conditions, *select.group, *select.having):
                assert all(column.table for column in part.find_all(exp.Column)), (gold, part.sql())


def test_half_of_the_plans_on_bird_have_at_most_fifty_words(bird: Benchmark) -> None:
    words = sorted(len(write_plan(gold.sql, bird.schemas[gold.db_id]).split()) for gold in bird.golds.values())
    assert words[len(words) // 2] <= 50


def test_sql_of_real_systems_that_both_validators_approve_returns_the_golds_rows(bird: Benchmark, shared: Path) -> None:
    """No false approval: of thousands of real candidates, each that passes is right when it is run."""
    approved = 0
    for question_id, sql in _candidates(shared, every=3):
        gold = bird.golds[question_id]
        schema = bird.schemas[gold.db_id]
        verdicts = {write_critique(validator, sql, gold.sql, schema).verdict for validator in Validator}
        if verdicts == {Verdict.CORRECT}:
            approved += 1
            assert _rows(bird.databases[gold.db_id], sql) == _rows(bird.databases[gold.db_id], gold.sql), (sql, gold)
    assert approved > 500


def _candidates(shared: Path, *, every: int) -> Iterator[tuple[int, str]]:
    """Yield every n-th distinct (question id, SQL) of the candidates file."""
    path = shared / "data" / "candidates" / "bird_dev.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no candidates at {path}")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        records = [json.loads(line) for line in stream]
    distinct = {(record["question_id"], sql) for record in records for sql in record["candidates"].values() if sql}
    yield from sorted(distinct)[::every]


def _rows(database: Path, sql: str) -> frozenset[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
    try:
        return frozenset(connection.execute(sql))
    finally:
        connection.close()
