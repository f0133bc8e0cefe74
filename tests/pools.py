"""Hypothesis strategies for pools: small, closed under their own references, with every verdict and outcome."""

from __future__ import annotations

from hypothesis import strategies as st

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.agents.fixer import feedback_text
from mats_sql.benchmark.question import Question
from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, Pool, review_id
from mats_sql.sql.execution import Outcome
from mats_sql.sql.verdict import VerdictClass
from mats_sql.team.flow import Task

OUTCOME_OF = {
    VerdictClass.CORRECT: Outcome.ROWS,
    VerdictClass.WRONG: Outcome.ROWS,
    VerdictClass.ERROR: Outcome.ERROR,
    VerdictClass.TIMEOUT: Outcome.TIMEOUT,
}
verdict_classes = st.sampled_from(list(OUTCOME_OF))
verdicts = st.sampled_from(list(Verdict))


def task(question_id: int, database: object) -> Task:
    """Return a task for a question of a pool."""
    return Task(Question(question_id, "db", f"Question {question_id}?"), f"schema {question_id}", database)  # type: ignore[arg-type]


@st.composite
def pools(draw: st.DrawFn, *, questions: int = 3, max_k: int = 4) -> Pool:
    """Return a pool of up to ``questions`` questions with K samples of everything."""
    k = draw(st.integers(1, max_k))
    plans, critiques, fixes = [], [], []
    for question_id in range(draw(st.integers(1, questions))):
        for index in range(k):
            sql = draw(st.sampled_from(["SELECT 1", "SELECT 2", "SELECT 3", None]))
            plans.append(_plan(question_id, index, sql, draw(verdict_classes)))
        for plan in Pool(tuple(p for p in plans if p.question_id == question_id)).reviews().values():
            own = [
                _critique(plan, validator, index, draw(verdicts), draw(st.integers(0, 2)))
                for validator in Validator
                for index in range(k)
            ]
            critiques += own
            fixes += _fixes(draw, plan, own, k)
    return Pool(tuple(plans), tuple(critiques), tuple(fixes))


@st.composite
def pools_with_prefix(draw: st.DrawFn) -> tuple[Pool, int]:
    """Return a pool and a K that it has a prefix of."""
    pool = draw(pools())
    return pool, draw(st.integers(1, pool.drawn))


def _plan(question_id: int, index: int, sql: str | None, verdict: VerdictClass) -> PlanRow:
    identity = review_id(question_id, sql) if sql else ""
    label = VerdictClass.ERROR if sql is None else verdict
    return PlanRow(
        f"{question_id}-{index}",
        question_id,
        "db",
        index,
        f"plan {sql}",
        sql,
        identity,
        OUTCOME_OF[label],
        "…",
        label,
        3,
    )


def _critique(plan: PlanRow, validator: Validator, index: int, verdict: Verdict, variant: int) -> CritiqueRow:
    text = f"{validator.value} {variant} {verdict.value}"
    identity = f"{plan.review_id}-{validator.value}-{index}"
    return CritiqueRow(identity, plan.review_id, plan.question_id, validator, index, text, verdict, 3)


def _fixes(draw: st.DrawFn, plan: PlanRow, own: list[CritiqueRow], k: int) -> list[FixRow]:
    by_place = {(row.validator, row.sample_index): row for row in own}
    found, known = [], {}
    for pair in [(index, 0) for index in range(k)] + [(0, index) for index in range(1, k)]:
        rows = by_place[Validator.SELECT, pair[0]], by_place[Validator.CONDITION, pair[1]]
        feedback = feedback_text([row.critique for row in rows])
        # equal feedback is an equal prompt, hence an equal greedy fix
        label = known.setdefault(feedback, draw(verdict_classes))
        sql = None if label is VerdictClass.ERROR else f"FIX {label.value}"  # and some fixes have no SQL
        identity = f"{plan.review_id}-fix-{pair[0]}-{pair[1]}-0"
        found.append(
            FixRow(
                identity,
                plan.review_id,
                plan.question_id,
                *pair,
                0,
                feedback,
                f"fix {sql}",
                sql,
                OUTCOME_OF[label],
                "…",
                label,
                3,
            )
        )
    return found
