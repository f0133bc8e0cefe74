"""From a team's answers to judged candidates, and to the table that a reader of a run looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mats_sql.agents import Critique, Validator, Verdict
from mats_sql.benchmark import Question
from mats_sql.evaluation.metrics import TeamMetrics
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.sql import JudgeItem, Judgement, VerdictClass
from mats_sql.team import Candidate, Task, TeamAnswer

if TYPE_CHECKING:
    import pandas as pd


def judge_items(answers: Sequence[TeamAnswer], golds: Mapping[int, str]) -> list[JudgeItem]:
    """Return what to judge: every candidate of every answer, in order, against its question's gold SQL."""
    return [
        JudgeItem(task.database, golds[task.question.question_id], candidate.sql)
        for task, candidate in _candidates(answers)
    ]


def judged_candidates(answers: Sequence[TeamAnswer], judgements: Iterable[Judgement]) -> list[JudgedCandidate]:
    """Return every candidate with its official verdict; ``judgements`` are those of :func:`judge_items`, in order."""
    return [
        _judged_candidate(task.question, candidate, judgement.official)
        for (task, candidate), judgement in zip(_candidates(answers), judgements, strict=True)
    ]


def answers_frame(
    candidates: Iterable[JudgedCandidate], tasks: Mapping[int, Task], golds: Mapping[int, str]
) -> pd.DataFrame:
    """Return a row per question: what was asked, whether the selected SQL is right, that SQL and the gold.

    The UI sets runs side by side by the first column, and so its texts differ: where several questions have one text,
    their ids follow.
    """
    import pandas as pd

    selected = [row for row in candidates if row.selected]
    texts = {row.question_id: tasks[row.question_id].question.text for row in selected}
    asked = Counter(texts.values())

    return pd.DataFrame(
        [
            {
                "question": text if asked[text] == 1 else f"{text} (question {row.question_id})",
                "verdict": row.verdict.value,
                "selected_sql": row.sql or "",
                "gold_sql": golds[row.question_id],
                "db_id": row.db_id,
                "difficulty": row.difficulty,
                "question_id": row.question_id,
                "origin": row.origin,
                "sample_index": row.sample_index,
                "selector_score": row.selector_score,
                "group_size": row.group_size,
            }
            for row in selected
            for text in [texts[row.question_id]]
        ]
    )


def outcomes_frame(metrics: TeamMetrics) -> pd.DataFrame:
    """Return how many plans, pool candidates and selected SQLs have each verdict, a row per verdict that occurs."""
    import pandas as pd

    found = [verdict for verdict in VerdictClass if any(counts[verdict] for counts in metrics.classes.values())]
    return pd.DataFrame(
        [
            {"verdict": verdict.value, **{rows: counts[verdict] for rows, counts in metrics.classes.items()}}
            for verdict in found
        ]
    )


def _candidates(answers: Iterable[TeamAnswer]) -> Iterator[tuple[Task, Candidate]]:
    return ((answer.task, candidate) for answer in answers for candidate in answer.candidates)


def _judged_candidate(question: Question, candidate: Candidate, verdict: VerdictClass) -> JudgedCandidate:
    return JudgedCandidate(
        question_id=question.question_id,
        db_id=question.db_id,
        difficulty=question.difficulty,
        sample_index=candidate.sample_index,
        origin=candidate.origin,
        sql=candidate.sql,
        outcome=candidate.execution.outcome,
        result_digest=candidate.execution.digest,
        verdict=verdict,
        gate_open=candidate.gate_open,
        in_pool=candidate.eligible,
        selected=candidate.selected,
        select_verdict=_verdict(candidate.critiques, Validator.SELECT),
        condition_verdict=_verdict(candidate.critiques, Validator.CONDITION),
        selector_score=candidate.score,
        group_size=candidate.group_size,
    )


def _verdict(critiques: Iterable[Critique], validator: Validator) -> Verdict:
    return next((item.verdict for item in critiques if item.validator is validator), Verdict.MISSING)
