"""A team's answers in the format that BIRD's evaluator reads.

One JSON object, ``{"0": "SELECT …\\t----- bird -----\\tdb_id", …}``, an entry per question of the question file in its
order, keyed by position: the evaluator pairs predictions with golds by order, so a question without an answer has an
entry with empty SQL.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mats_sql.errors import StageInputError
from mats_sql.evaluation import JudgedCandidate
from mats_sql.pipeline import DEV, QuestionRow
from mats_sql.sql import BIRD_SEPARATOR

SUBMISSION_FILE = "predict_dev.json"


@dataclass(frozen=True, slots=True)
class Submission:
    """The entries of a submission, and how many of them hold SQL."""

    entries: dict[str, str]
    answered: int


def submission_of(questions: Sequence[QuestionRow], candidates: Sequence[JudgedCandidate]) -> Submission:
    """Return the selected SQL of every dev question, in the question file's order.

    Raises :class:`StageInputError` when a usable question has no candidates: the evaluation was of a part.
    """
    asked = [row for row in questions if row.split == DEV]
    selected = {row.question_id: row.sql or "" for row in candidates if row.selected}
    left_out = [row.question_id for row in asked if row.usable and row.question_id not in selected]
    if left_out:
        raise StageInputError(
            f"a submission must be of an evaluation on all usable dev questions, but {len(left_out)} of {len(asked)} "
            "were not asked; give the evaluate run of the whole dev set"
        )
    entries = {
        str(position): f"{selected.get(row.question_id, '')}{BIRD_SEPARATOR}{row.db_id}"
        for position, row in enumerate(asked)
    }
    return Submission(entries, sum(bool(selected.get(row.question_id)) for row in asked))


def write_submission(submission: Submission, folder: Path) -> None:
    """Write the file that BIRD's evaluator takes as a prediction."""
    text = json.dumps(submission.entries, indent=4, ensure_ascii=False)
    (folder / SUBMISSION_FILE).write_text(text + "\n", encoding="utf-8")
