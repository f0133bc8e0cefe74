"""Sampling, once: plans, critiques and fixes of a split with the largest K, executed and judged, as three tables.

Beside them what the tables tell: the team's flow replayed on them (``replay``), the selector's scores that the replay
may need (``scores``), and labelled SQL for supervised training (``labelled``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.rollout.content import with_right_content
    from mats_sql.rollout.labelled import labelled_candidates, labelled_plans
    from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, Pool, ScoreRow, read_pool, review_id, write_pool
    from mats_sql.rollout.replay import NO_SCORES, Case, SelectorScores, cases, needs_scores
    from mats_sql.rollout.sample import Sampler, Source, reviews_of
    from mats_sql.rollout.scores import score_pool, scores_of
    from mats_sql.rollout.swapped import draw_swapped_fixes

__all__ = [
    "NO_SCORES",
    "Case",
    "CritiqueRow",
    "FixRow",
    "PlanRow",
    "Pool",
    "Sampler",
    "ScoreRow",
    "SelectorScores",
    "Source",
    "cases",
    "draw_swapped_fixes",
    "labelled_candidates",
    "labelled_plans",
    "needs_scores",
    "read_pool",
    "review_id",
    "reviews_of",
    "score_pool",
    "scores_of",
    "with_right_content",
    "write_pool",
]

__getattr__ = Face(
    __name__,
    {
        "content": ("with_right_content",),
        "labelled": ("labelled_candidates", "labelled_plans"),
        "pool": ("CritiqueRow", "FixRow", "PlanRow", "Pool", "ScoreRow", "read_pool", "review_id", "write_pool"),
        "replay": ("Case", "NO_SCORES", "SelectorScores", "cases", "needs_scores"),
        "sample": ("Sampler", "Source", "reviews_of"),
        "scores": ("score_pool", "scores_of"),
        "swapped": ("draw_swapped_fixes",),
    },
)
