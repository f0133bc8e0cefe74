"""A critique's label says whether its content is the teacher's, whatever its verdict does for the fixer."""

from __future__ import annotations

from mats_sql.agents import Validator, Verdict, parse_critique
from mats_sql.benchmark import Column, Schema, Table
from mats_sql.rollout import CritiqueRow, PlanRow, with_right_content
from mats_sql.rollout.pool import review_id
from mats_sql.sql import Outcome, VerdictClass
from mats_sql.teaching import write_critique

SCHEMA = Schema(
    "music",
    (Table("singer", (Column("id", "integer"), Column("name", "text"), Column("city", "text"))),),
    (),
)
GOLD = "SELECT name FROM singer WHERE city = 'OSL'"
WRONG = "SELECT name FROM singer WHERE city = 'Oslo'"


def _plan(sql: str, verdict: VerdictClass) -> PlanRow:
    identity = review_id(1, sql)
    return PlanRow("1-0", 1, "music", 0, "", sql, identity, Outcome.EMPTY, "no rows", verdict, 3)


def _label(plan: PlanRow, validator: Validator, text: str) -> bool:
    verdict = parse_critique(validator, text).verdict
    row = CritiqueRow("c", plan.review_id, 1, validator, 0, text, verdict, 3)
    [labelled] = with_right_content([row], [plan], {1: GOLD}, {"music": SCHEMA})
    assert labelled.critique == row.critique
    return labelled.right_content


def test_a_complaint_is_right_when_it_asks_for_what_gold_asks_for() -> None:
    plan = _plan(WRONG, VerdictClass.WRONG)
    true = write_critique(Validator.CONDITION, WRONG, GOLD, SCHEMA)
    assert true.verdict is Verdict.INCORRECT
    assert _label(plan, Validator.CONDITION, true.text)
    assert not _label(plan, Validator.CONDITION, true.text.replace("'OSL'", "'LOS'"))


def test_the_right_verdict_for_the_wrong_reason_is_not_right() -> None:
    plan = _plan(WRONG, VerdictClass.WRONG)
    assert not _label(plan, Validator.CONDITION, "CONDITION.\nThe question asks for: none\nConclude: incorrect.")
    assert not _label(plan, Validator.SELECT, "SELECT.\nThe question asks for: singer.id\nConclude: incorrect.")


def test_an_approval_is_right_where_the_teacher_approves() -> None:
    plan = _plan(WRONG, VerdictClass.WRONG)
    assert _label(plan, Validator.SELECT, "SELECT.\nConclude: correct.")
    assert not _label(plan, Validator.CONDITION, "CONDITION.\nConclude: correct.")


def test_a_right_sql_written_otherwise_than_gold_is_to_be_approved() -> None:
    plan = _plan("SELECT name FROM singer WHERE city LIKE 'OSL'", VerdictClass.CORRECT)
    assert _label(plan, Validator.CONDITION, "CONDITION.\nConclude: correct.")


def test_a_critique_without_a_verdict_is_never_right() -> None:
    assert not _label(_plan(WRONG, VerdictClass.WRONG), Validator.CONDITION, "CONDITION.")
