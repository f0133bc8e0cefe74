"""What a pool's SQL is worth, as labelled reviews: what validators, fixer and selector learn from."""

from __future__ import annotations

from collections.abc import Mapping

from mats_sql.agents import Critique
from mats_sql.rollout.pool import Pool
from mats_sql.rollout.sample import Source, reviews_of
from mats_sql.teaching import LabelledReview


def labelled_plans(pool: Pool, source: Source) -> list[LabelledReview]:
    """Return every distinct SQL that the planner wrote, with its label and gold, and no critique."""
    return _labelled(pool, source, {})


def labelled_candidates(pool: Pool, source: Source) -> list[LabelledReview]:
    """Return what a selector meets: plans' SQL with their greedy critiques, fixes without any."""
    found = _labelled(pool, source, pool.feedbacks())
    fixes = {(fix.question_id, fix.sql): fix for fix in pool.fixes if fix.sql is not None}
    for (question_id, sql), fix in sorted(fixes.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        review = source.tasks[question_id].review(sql, fix.response)
        found.append(LabelledReview(review, (), fix.correct, source.golds[question_id]))
    return found


def _labelled(pool: Pool, source: Source, critiques: Mapping[str, tuple[Critique, ...]]) -> list[LabelledReview]:
    first = pool.reviews()
    return [
        LabelledReview(
            review, critiques.get(identity, ()), first[identity].correct, source.golds[review.question.question_id]
        )
        for identity, review in reviews_of(source, pool.plans).items()
    ]
