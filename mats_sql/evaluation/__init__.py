"""What a team is worth and whether two teams differ: metrics, statistics, diagnosis, result tables and plots.

``records`` holds a judged candidate, ``judged_answers`` makes them from a team's answers, ``question_results`` groups
them by question, ``metrics`` counts them, ``comparison`` compares two teams, ``diagnosis`` says where a training signal
is lost, ``report`` shows. Everything here is a pure function of judged records; nothing runs SQL, a model or MLflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.evaluation.judged_answers import answers_frame, judge_items, judged_candidates, outcomes_frame
    from mats_sql.evaluation.metrics import team_metrics
    from mats_sql.evaluation.question_results import restrict
    from mats_sql.evaluation.records import JudgedCandidate
    from mats_sql.evaluation.sets import ALL, REST, QuestionSet, question_sets

__all__ = [
    "ALL",
    "REST",
    "JudgedCandidate",
    "QuestionSet",
    "answers_frame",
    "judge_items",
    "judged_candidates",
    "outcomes_frame",
    "question_sets",
    "restrict",
    "team_metrics",
]

__getattr__ = Face(
    __name__,
    {
        "judged_answers": ("answers_frame", "judge_items", "judged_candidates", "outcomes_frame"),
        "metrics": ("team_metrics",),
        "question_results": ("restrict",),
        "records": ("JudgedCandidate",),
        "sets": ("ALL", "REST", "QuestionSet", "question_sets"),
    },
)
