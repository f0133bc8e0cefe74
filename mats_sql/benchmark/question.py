"""What a model may see of a benchmark's item, and what it may not: two types that never mix."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question as a model sees it. It has no gold SQL, so nothing built from it can leak gold."""

    question_id: int
    db_id: str
    text: str
    evidence: str = ""
    difficulty: str = "simple"


@dataclass(frozen=True, slots=True)
class Gold:
    """The reference SQL of a question. Only the judge, the teacher and the labelers hold it."""

    question_id: int
    db_id: str
    sql: str
