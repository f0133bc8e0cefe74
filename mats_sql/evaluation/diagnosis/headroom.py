"""How far the validators' own samples reach: what a preference among them has to teach, before any training.

A regime chooses among sampled critiques. Where none of them ends right, no label can say which one would; where the
greedy one does, there is nothing to learn. What lies between is the headroom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mats_sql.agents import Validator
from mats_sql.config import Policy
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.rollout import Case, Pool, SelectorScores, cases


@dataclass(frozen=True, slots=True)
class Headroom:
    """What the first K critiques of each distinct SQL reach; ``ends`` and ``words`` are keyed by K, from 1 (greedy) on.

    ``plan_correct`` says whether these are the right SQL or the wrong ones. ``validator`` is the one whose critiques
    vary, the other's being greedy; ``None``: either of the two. ``ends`` counts the SQL with which the team ends right
    under the best of the K; ``words`` those of which one of the K says what the teacher's says (none for either).
    """

    plan_correct: bool
    validator: Validator | None
    ends: Mapping[int, Proportion]
    words: Mapping[int, Proportion]


def headrooms(pool: Pool, policy: Policy, scores: SelectorScores | None = None) -> tuple[Headroom, ...]:
    """Return the headroom on wrong SQL, then on right SQL: of each validator's critiques, then of either's.

    Raises as :meth:`mats_sql.rollout.Case.ends_correct` does.
    """
    varied: dict[Validator | None, list[Case]] = {each: cases(pool, each, scores) for each in Validator}
    varied[None] = [case for found in varied.values() for case in found]
    ending = {id(case) for case in varied[None] if case.ends_correct(policy)}
    return tuple(
        Headroom(
            correct,
            validator,
            _reached(_of_plans(found, correct), lambda case: id(case) in ending, pool.drawn),
            _reached(_of_plans(found, correct), _says_the_teachers, pool.drawn) if validator else {},
        )
        for correct in (False, True)
        for validator, found in varied.items()
    )


def _says_the_teachers(case: Case) -> bool:
    return case.critique.right_content


def _of_plans(found: Iterable[Case], correct: bool) -> list[Case]:
    return [case for case in found if case.plan.correct is correct]


def _reached(found: Sequence[Case], good: Callable[[Case], bool], drawn: int) -> dict[int, Proportion]:
    """Return, per K, of how many SQL one of the first K critiques is ``good``."""
    first: dict[str, int] = {}
    for case in filter(good, found):
        identity, index = case.critique.review_id, case.critique.sample_index
        first[identity] = min(index, first.get(identity, index))
    total = len({case.critique.review_id for case in found})
    return {k: Proportion(sum(index < k for index in first.values()), total) for k in range(1, drawn + 1)}
