"""A pool drawn by the packaged base model: ordered samples, labels from the judge, prefixes, one table per record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from mats_sql.agents.critique import Validator
from mats_sql.config import RolloutSettings
from mats_sql.errors import StageInputError
from mats_sql.generation.engine import Engine
from mats_sql.rollout.pool import Pool, read_pool, write_pool
from mats_sql.rollout.sample import Sampler, Source, reviews_of
from mats_sql.rollout.swapped import draw_swapped_fixes, swapped_feedback
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from tests.lab_source import GENERATION
from tests.pools import pools


@pytest.fixture(scope="module")
def judge(executor: SqlExecutor) -> Iterator[Judge]:
    with Judge(executor, None) as opened:
        yield opened


def draw(source: Source, engine: Engine, judge: Judge, k: int) -> Pool:
    sampler = Sampler(RolloutSettings(plans=k, critiques=k, fixes=1), GENERATION, judge, seed=3)
    plans = sampler.plans(source, engine)
    reviews = reviews_of(source, plans)
    critiques = [row for validator in Validator for row in sampler.critiques(reviews, validator, engine)]
    return Pool(tuple(plans), tuple(critiques), tuple(sampler.fixes(source, reviews, critiques, engine)))


@pytest.fixture(scope="module")
def pool(source: Source, engine: Engine, judge: Judge) -> Pool:
    return draw(source, engine, judge, 3)


def test_a_smaller_draw_is_the_prefix_of_a_larger_one(pool: Pool, source: Source, engine: Engine, judge: Judge) -> None:
    small, prefix = draw(source, engine, judge, 2), pool.prefix(2)
    for name in ("plans", "critiques", "fixes"):
        assert set(getattr(small, name)) == set(getattr(prefix, name))


def test_every_label_is_what_the_judge_says_of_that_very_sql(pool: Pool, source: Source, judge: Judge) -> None:
    labelled = [(row.question_id, row.sql, row.verdict) for row in (*pool.plans, *pool.fixes)]
    items = [JudgeItem(source.tasks[q].database, source.golds[q], sql) for q, sql, _ in labelled]
    assert [found.official for found in judge.judge_many(items)] == [verdict for _, _, verdict in labelled]


def test_every_critique_and_fix_belongs_to_a_plan(pool: Pool) -> None:
    reviews = pool.reviews()
    assert {row.review_id for row in pool.critiques} == set(reviews)
    assert {row.review_id for row in pool.fixes} <= set(reviews)


def test_one_validator_varies_while_the_other_stays_greedy(pool: Pool) -> None:
    assert all(0 in (fix.select_index, fix.condition_index) for fix in pool.fixes)


def test_swapped_feedback_comes_from_another_question(pool: Pool, source: Source, engine: Engine, judge: Judge) -> None:
    feedback = swapped_feedback(pool, 1)
    own = {fix.review_id: fix.feedback for fix in pool.fixes if fix.select_index == fix.condition_index == 0}
    assert all(feedback[identity] != own[identity] for identity in feedback)
    sampler = Sampler(RolloutSettings(), GENERATION, judge, seed=1)
    fixes = draw_swapped_fixes(pool, source, reviews_of(source, pool.plans), sampler, engine)
    assert {fix.review_id for fix in fixes} == set(feedback)


@settings(deadline=None, max_examples=25)
@given(drawn=pools())
def test_a_pool_reads_back_as_it_was_written(drawn: Pool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pool")
    write_pool(drawn, folder)
    assert read_pool(folder) == drawn


def test_a_damaged_table_is_named(pool: Pool, tmp_path: Path) -> None:
    write_pool(pool, tmp_path)
    (tmp_path / "critiques.parquet").write_bytes(b"torn")
    with pytest.raises(StageInputError, match=r"critiques\.parquet"):
        read_pool(tmp_path)
