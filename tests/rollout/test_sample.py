"""A pool drawn by the packaged base model: ordered samples, labels from the judge, fixes under their own critiques."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.agents.fixer import feedback_text
from mats_sql.config import RolloutSettings
from mats_sql.generation.engine import Engine
from mats_sql.rollout.pool import Pool
from mats_sql.rollout.sample import Sampler, Source, reviews_of
from mats_sql.rollout.swapped import draw_swapped_fixes, swapped_feedback
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from tests.lab_source import GENERATION


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


def test_every_distinct_sql_is_criticised_and_fixed_under_each_critique_while_the_other_stays_greedy(
    pool: Pool,
) -> None:
    drawn: dict[str, list[tuple[object, ...]]] = {identity: [] for identity in pool.reviews()}
    for row in pool.critiques:
        drawn[row.review_id].append((row.validator, row.sample_index))
    for fix in pool.fixes:
        drawn[fix.review_id].append((fix.select_index, fix.condition_index, fix.sample_index))
    critiques = {(validator, index) for validator in Validator for index in range(3)}
    fixes = {(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 2, 0)}
    assert drawn
    assert all(len(rows) == len(set(rows)) and set(rows) == critiques | fixes for rows in drawn.values())


def test_a_fix_reads_the_feedback_of_its_own_critiques(pool: Pool) -> None:
    critiques = {(row.review_id, row.validator, row.sample_index): row.critique for row in pool.critiques}
    for fix in pool.fixes:
        select = critiques[fix.review_id, Validator.SELECT, fix.select_index]
        condition = critiques[fix.review_id, Validator.CONDITION, fix.condition_index]
        assert fix.feedback == feedback_text([select, condition])


def test_swapped_feedback_is_a_complaint_about_a_wrong_sql_of_another_question(pool: Pool) -> None:
    reviews, feedback = pool.reviews(), swapped_feedback(pool, 1)
    complaints: dict[str, set[int]] = {}
    for identity, critiques in pool.feedbacks().items():
        if not reviews[identity].correct and Verdict.INCORRECT in {critique.verdict for critique in critiques}:
            complaints.setdefault(feedback_text(critiques), set()).add(reviews[identity].question_id)
    assert feedback
    for identity, text in feedback.items():
        assert not reviews[identity].correct
        assert complaints[text] - {reviews[identity].question_id}


def test_a_swapped_fix_is_greedy_and_made_under_the_swapped_feedback(
    pool: Pool, source: Source, engine: Engine, judge: Judge
) -> None:
    sampler = Sampler(RolloutSettings(), GENERATION, judge, seed=1)
    fixes = draw_swapped_fixes(pool, source, reviews_of(source, pool.plans), sampler, engine)
    assert {fix.review_id: fix.feedback for fix in fixes} == swapped_feedback(pool, 1)
    assert len(fixes) == len({fix.review_id for fix in fixes})
