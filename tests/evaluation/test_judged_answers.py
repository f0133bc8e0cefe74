from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mats_sql.agents.critique import Critique, Validator, Verdict
from mats_sql.benchmark.question import Question
from mats_sql.evaluation.judged_answers import answers_frame, judge_items, judged_candidates, outcomes_frame
from mats_sql.evaluation.metrics import team_metrics
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.verdict import Judgement, VerdictClass
from mats_sql.team.flow import Candidate, Task, TeamAnswer

CRITIQUES = (Critique(Validator.CONDITION, "no filter", Verdict.INCORRECT),)


def rows(*digests):
    return Execution(Outcome.ROWS, digest=digests[0]) if digests else Execution(Outcome.ERROR, error="no SQL")


def answer(question_id, *candidates):
    question = Question(question_id, f"db{question_id}", f"how many {question_id}?", "", "moderate")
    return TeamAnswer(Task(question, "schema", Path(f"{question_id}.sqlite")), candidates)


ANSWERS = [
    answer(
        7,
        Candidate(0, "plan", None, rows(), CRITIQUES, gate_open=True, eligible=False),
        Candidate(0, "fix", "select 1", rows("a"), CRITIQUES, True, True, score=0.5, group_size=1, selected=True),
    ),
    answer(9, Candidate(0, "plan", "select 2", rows("b"), (), False, True, group_size=1, selected=True)),
]
GOLDS = {9: "select nine", 7: "select seven"}


def judgement(official):
    return Judgement(official, VerdictClass.WRONG, VerdictClass.WRONG, Outcome.ROWS)


JUDGEMENTS = [judgement(verdict) for verdict in (VerdictClass.ERROR, VerdictClass.CORRECT, VerdictClass.WRONG)]


def test_every_candidate_is_judged_on_its_questions_database_and_gold():
    assert [(item.database.name, item.gold_sql, item.sql) for item in judge_items(ANSWERS, GOLDS)] == [
        ("7.sqlite", "select seven", None),
        ("7.sqlite", "select seven", "select 1"),
        ("9.sqlite", "select nine", "select 2"),
    ]


def test_a_judged_candidate_holds_the_official_verdict_beside_what_the_team_knew():
    plan, fix, other = judged_candidates(ANSWERS, iter(JUDGEMENTS))
    assert [row.verdict for row in (plan, fix, other)] == [found.official for found in JUDGEMENTS]
    assert (plan.sql, plan.outcome, plan.result_digest, plan.gate_open, plan.in_pool) == (
        *(None, Outcome.ERROR, ""),
        *(True, False),
    )
    assert (fix.question_id, fix.db_id, fix.difficulty, fix.origin) == (7, "db7", "moderate", "fix")
    assert (fix.result_digest, fix.selector_score, fix.group_size, fix.selected) == ("a", 0.5, 1, True)
    assert (fix.condition_verdict, fix.select_verdict) == (Verdict.INCORRECT, Verdict.MISSING)
    assert other.condition_verdict is Verdict.MISSING
    assert team_metrics([plan, fix, other]).scores.selector_ex.count == 1


def test_a_judgement_too_few_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        judged_candidates(ANSWERS, JUDGEMENTS[:2])


def test_the_table_of_answers_has_the_selected_sql_of_every_question():
    tasks = {answered.task.question.question_id: answered.task for answered in ANSWERS}
    frame = answers_frame(judged_candidates(ANSWERS, JUDGEMENTS), tasks, GOLDS)
    assert list(frame)[:4] == ["question", "verdict", "selected_sql", "gold_sql"], "what the UI opens with"
    assert frame[["question_id", *list(frame)[:4], "origin"]].values.tolist() == [
        [7, "how many 7?", "correct", "select 1", "select seven", "fix"],
        [9, "how many 9?", "wrong", "select 2", "select nine", "plan"],
    ]


def test_questions_of_one_text_are_rows_of_their_own():
    tasks = {item.task.question.question_id: item.task for item in ANSWERS}
    same = {key: replace(task, question=replace(task.question, text="how many?")) for key, task in tasks.items()}
    frame = answers_frame(judged_candidates(ANSWERS, JUDGEMENTS), same, dict.fromkeys(tasks, "select 0"))
    assert frame["question"].tolist() == ["how many? (question 7)", "how many? (question 9)"]


def test_outcomes_are_counted_in_a_table():
    frame = outcomes_frame(team_metrics(judged_candidates(ANSWERS[:1], JUDGEMENTS[:2])))
    assert frame.set_index("verdict")["selected"].to_dict()["correct"] == 1
    assert frame["plan"].sum() == 1
