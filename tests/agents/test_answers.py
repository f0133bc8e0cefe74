"""What the parsers make of answers that models really give."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.agents.critique import Critique, Validator, Verdict, critique_answer, parse_critique
from mats_sql.agents.fixer import FIXED_CRITIQUE, NO_COMPLAINT, feedback_text, parse_fix
from mats_sql.agents.planner import parse_plan, planner_answer

CORRECT, INCORRECT, MISSING = Verdict.CORRECT, Verdict.INCORRECT, Verdict.MISSING

CONCLUSIONS = [
    ("Conclude: correct.", CORRECT),
    ("Conclude: incorrect.", INCORRECT),
    ("Conclude: correct", CORRECT),
    ("conclude : INCORRECT", INCORRECT),
    ("Conclude:incorrect.", INCORRECT),
    ("Conclude - incorrect", INCORRECT),
    ("Conclude:\n incorrect.", INCORRECT),
    ("Conclude: **incorrect**.", INCORRECT),
    ("**Conclude:** correct", CORRECT),
    ("Conclude: __incorrect__", INCORRECT),
    ("### Conclusion: `correct`", CORRECT),
    ("Conclusion: the SQL query is incorrect.", INCORRECT),
    ("In conclusion, the query is correct.", CORRECT),
    ("Concluded that it is incorrect", INCORRECT),
    ("Conclude: not correct.", INCORRECT),
    ("Conclude: the query is not correct.", INCORRECT),
    ("Conclude: it isn't correct.", INCORRECT),
    ("Conclude: not incorrect.", CORRECT),
    ("Conclude: in-correct.", INCORRECT),
    ("Conclude: incorrect.\nWait. Conclude: correct.", CORRECT),
    ("Conclude: correct. Conclude: incorrect", INCORRECT),
    ("Conclude: correct. Conclude: in", CORRECT),
    ("Conclude: correct.\nConclude: correct or incorrect.", CORRECT),
    ("", MISSING),
    ("SELECT.\nThe query selects: name", MISSING),
    ("Conclude", MISSING),
    ("Conclude:", MISSING),
    ("Conclude: corr", MISSING),
    ("Conclude: in", MISSING),
    ("The query is correct.", MISSING),
    ("It is incorrect to conclude this.", MISSING),
    ("Conclude: correct or incorrect.", MISSING),
    ("Conclude: correct/incorrect", MISSING),
    ("Conclude: partly correct", MISSING),
    ("Conclude: correctly joined", MISSING),
    ("Conclude: correctness unclear", MISSING),
    ("Foreconclude: correct", MISSING),
]


@pytest.mark.parametrize(("text", "verdict"), CONCLUSIONS)
def test_the_last_conclusion_counts_and_without_one_the_verdict_is_missing(text: str, verdict: Verdict) -> None:
    for validator in Validator:
        assert parse_critique(validator, text) == Critique(validator, text, verdict)


@given(st.sampled_from(Validator), st.text(), st.text(), st.booleans())
def test_a_critique_in_the_trained_format_keeps_its_verdict_whatever_it_quotes(
    validator: Validator, found: str, wanted: str, correct: bool
) -> None:
    critique = parse_critique(validator, critique_answer(validator, found, wanted, correct=correct))
    assert critique.verdict is (CORRECT if correct else INCORRECT)


@pytest.mark.parametrize("text", ["conclude " * 30_000, "conclude" + " " * 200_000, "conclude " + "the " * 50_000])
def test_long_rambling_is_read_in_linear_time(text: str) -> None:
    started = time.perf_counter()
    assert parse_critique(Validator.SELECT, text).verdict is MISSING
    assert time.perf_counter() - started < 2.0


def test_the_fixers_fixed_critique_concludes_incorrect() -> None:
    assert parse_critique(Validator.CONDITION, FIXED_CRITIQUE).verdict is INCORRECT


def test_feedback_blanks_approving_critiques_and_shows_a_missing_verdict() -> None:
    texts = {CORRECT: "fine", INCORRECT: "bad", MISSING: "hm"}
    critiques = {verdict: Critique(Validator.SELECT, text, verdict) for verdict, text in texts.items()}
    assert feedback_text([critiques[CORRECT], critiques[INCORRECT]]) == "bad"
    assert feedback_text([critiques[MISSING], critiques[INCORRECT]]) == "hm\nbad"
    assert feedback_text([critiques[CORRECT]]) == feedback_text([]) == NO_COMPLAINT


PLANS = [
    (planner_answer("singer.name", "none", "singer", "SELECT name FROM singer"), "SELECT name FROM singer"),
    ("Final SQL query:\n```sql\nSELECT 1\n```", "SELECT 1"),
    ("**Final SQL query:**\n```\nSELECT 1\n```\n", "SELECT 1"),
    ("final sql : ```sql\nSELECT 1\n```", "SELECT 1"),
    ("Final SQL query: SELECT 1", "SELECT 1"),
    ("```sql\nSELECT 0\n```\nno, better:\nFinal SQL query:\n```sql\nSELECT 1\n```", "SELECT 1"),
    ("Final SQL query:\n```sql\nSELECT 'a ; b',  \"sql\"\n```", "SELECT 'a ; b',  \"sql\""),
    ("Goal to select: x\nFinal SQL query:", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "sql"), PLANS)
def test_a_plans_sql_is_what_follows_its_last_final_heading(text: str, sql: str | None) -> None:
    assert parse_plan(text).sql == sql


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "SELECT 'a;b'", "SELECT  a\nFROM t", "WITH x AS (SELECT 1) SELECT * FROM x"]
)
def test_a_bare_sql_is_a_fix_as_it_stands(sql: str) -> None:
    assert parse_fix(sql).sql == sql


def test_an_empty_fix_has_no_sql() -> None:
    assert parse_fix(" \n").sql is None
