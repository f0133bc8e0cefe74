"""Fixes under another question's critiques: the control that tells whether a fixer reads what a critique says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mats_sql.agents import Review, Verdict, feedback_text
from mats_sql.generation import Engine
from mats_sql.rollout.pool import FixRow, Pool
from mats_sql.rollout.sample import Sampler, Source
from mats_sql.seeds import derive_random


def swapped_feedback(pool: Pool, seed: int) -> dict[str, str]:
    """Return, per wrong SQL of the pool, a complaint about a wrong SQL of another question.

    Empty when fewer than two questions have one.
    """
    complaints = _complaints(pool)
    plans = pool.reviews()
    donors = sorted(complaints)
    found = {}
    for identity in donors:
        others = [donor for donor in donors if plans[donor].question_id != plans[identity].question_id]
        if others:
            found[identity] = complaints[derive_random(seed, "swap", identity).choice(others)]
    return found


def draw_swapped_fixes(
    pool: Pool, source: Source, reviews: Mapping[str, Review], sampler: Sampler, fixer: Engine
) -> list[FixRow]:
    """Return one greedy, judged fix per wrong SQL under the critiques of another question."""
    feedback = swapped_feedback(pool, sampler.seed)
    greedy = replace(sampler, rollout=sampler.rollout.model_copy(update={"fixes": 1}))
    return greedy.fixes_under(source, reviews, [(identity, (0, 0), text) for identity, text in feedback.items()], fixer)


def _complaints(pool: Pool) -> dict[str, str]:
    plans = pool.reviews()
    return {
        identity: feedback_text(critiques)
        for identity, critiques in pool.feedbacks().items()
        if not plans[identity].correct and any(critique.verdict is Verdict.INCORRECT for critique in critiques)
    }
