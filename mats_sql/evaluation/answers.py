"""From a team's answers and the judge's verdicts to the rows that are kept and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mats_sql.agents.critique import Critique, Validator, Verdict
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.sql.judge import Judge, JudgeItem
from mats_sql.sql.verdict import VerdictClass
from mats_sql.team.flow import Task, TeamAnswer
from mats_sql.team.policy import Candidate

if TYPE_CHECKING:
    import pandas as pd


def judge_answers(answers: Sequence[TeamAnswer], golds: Mapping[int, str], judge: Judge) -> list[JudgedCandidate]:
    """Return every candidate of every answer with its official verdict; ``golds`` are SQL by question id."""
    rows = [(answer.task, candidate) for answer in answers for candidate in answer.candidates]
    items = [JudgeItem(task.database, golds[task.question.question_id], row.sql) for task, row in rows]
    return [
        _judged_candidate(task, row, judgement.official)
        for (task, row), judgement in zip(rows, judge.judge_many(items), strict=True)
    ]


def selected_frame(candidates: Sequence[JudgedCandidate], texts: Mapping[int, str]) -> pd.DataFrame:
    """Return a row per question: what was asked (``texts`` by question id), what was selected, whether it is right."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "question_id": row.question_id,
                "db_id": row.db_id,
                "difficulty": row.difficulty,
                "question": texts[row.question_id],
                "selected_sql": row.sql or "",
                "verdict": row.verdict.value,
                "origin": row.origin,
                "sample_index": row.sample_index,
                "selector_score": row.selector_score,
                "group_size": row.group_size,
            }
            for row in candidates
            if row.selected
        ]
    )


def _judged_candidate(task: Task, row: Candidate, verdict: VerdictClass) -> JudgedCandidate:
    question = task.question
    return JudgedCandidate(
        question_id=question.question_id,
        db_id=question.db_id,
        difficulty=question.difficulty,
        sample_index=row.sample_index,
        origin=row.origin,
        sql=row.sql,
        outcome=row.execution.outcome,
        result_digest=row.execution.digest,
        verdict=verdict,
        gate_open=row.gate_open,
        in_pool=row.eligible,
        selected=row.selected,
        select_verdict=_verdict(row.critiques, Validator.SELECT),
        condition_verdict=_verdict(row.critiques, Validator.CONDITION),
        selector_score=row.score,
        group_size=row.group_size,
    )


def _verdict(critiques: Iterable[Critique], validator: Validator) -> Verdict:
    return next((item.verdict for item in critiques if item.validator is validator), Verdict.MISSING)
