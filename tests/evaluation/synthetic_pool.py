"""A pool from a small model of validators and a fixer that listens to critiques as much as it is told to."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.agents.fixer import feedback_text
from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, Pool, review_id
from mats_sql.seeds import derive_random
from mats_sql.sql.execution import Outcome
from mats_sql.sql.verdict import VerdictClass


@dataclass(frozen=True, slots=True)
class PoolShape:
    """``skill`` of the validators; ``listening``: how often the fixer does what the critique says."""

    skill: float = 0.7
    listening: float = 0.7
    questions: int = 120
    k: int = 4
    databases: int = 11


def synthetic_pool(seed: int, shape: PoolShape) -> Pool:
    """Return a pool; two plans per question, one of them often right."""
    plans, critiques, fixes = [], [], []
    for question_id in range(shape.questions):
        random = derive_random(seed, "pool", question_id)
        for index in range(2):
            plan = _plan(question_id, index, random.random() < 0.5, f"db{question_id % shape.databases}")
            own = [
                _critique(plan, validator, number, random, shape.skill)
                for validator in Validator
                for number in range(shape.k)
            ]
            plans.append(plan)
            critiques += own
            fixes += _fixes(plan, own, random, shape)
    return Pool(tuple(plans), tuple(critiques), tuple(fixes))


def _plan(question_id: int, index: int, correct: bool, db_id: str) -> PlanRow:
    sql = f"select {index}"
    verdict = VerdictClass.CORRECT if correct else VerdictClass.WRONG
    identity = review_id(question_id, sql)
    return PlanRow(
        f"{question_id}-{index}", question_id, db_id, index, sql, sql, identity, Outcome.ROWS, "1", verdict, 3
    )


def _critique(plan: PlanRow, validator: Validator, number: int, random: Random, skill: float) -> CritiqueRow:
    right = random.random() < skill
    verdict = Verdict.CORRECT if plan.correct == right else Verdict.INCORRECT
    text = f"{validator.value} {verdict.value} {random.randrange(3)}"
    identity = f"{plan.review_id}-{validator.value}-{number}"
    return CritiqueRow(identity, plan.review_id, plan.question_id, validator, number, text, verdict, 3)


def _fixes(plan: PlanRow, own: list[CritiqueRow], random: Random, shape: PoolShape) -> list[FixRow]:
    by_place = {(row.validator, row.sample_index): row for row in own}
    places = [(index, 0) for index in range(shape.k)] + [(0, index) for index in range(1, shape.k)]
    stubborn, known, found = random.random() < (0.9 if plan.correct else 0.15), {}, []
    for select, condition in places:
        rows = by_place[Validator.SELECT, select], by_place[Validator.CONDITION, condition]
        feedback = feedback_text([row.critique for row in rows])
        complaint = any(row.verdict is Verdict.INCORRECT for row in rows)
        obeyed = (random.random() < 0.2) if plan.correct and complaint else plan.correct or complaint
        correct = known.setdefault(feedback, obeyed if random.random() < shape.listening else stubborn)
        verdict = VerdictClass.CORRECT if correct else VerdictClass.WRONG
        identity = f"{plan.review_id}-fix-{select}-{condition}-0"
        sql = f"fixed {correct}"
        found.append(
            FixRow(
                *(identity, plan.review_id, plan.question_id, select, condition, 0, feedback, sql, sql),
                *(Outcome.ROWS, "1", verdict, 3),
            )
        )
    return found
