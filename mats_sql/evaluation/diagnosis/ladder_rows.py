"""What a ladder is counted from: the distinct SQL that a team's planner wrote, and what was said and made of each.

Three tables that refer to each other by ``plan_id``. They hold gold's words (the teacher's critiques): nothing that
answers questions reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mats_sql.agents import Validator, Verdict
from mats_sql.evaluation.diagnosis.error_signs import ErrorSign
from mats_sql.sql import Outcome, VerdictClass


class CritiqueKind(StrEnum):
    """Whose critiques the fixer is told."""

    NONE = "none"
    OWN = "own"
    TRUE = "true"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class LadderPlan:
    """One distinct SQL of one question. ``sign`` is what shows the error of a wrong one; a right one has none."""

    plan_id: str
    question_id: int
    db_id: str
    sql: str
    outcome: Outcome
    response: str
    verdict: VerdictClass
    sign: ErrorSign | None

    @property
    def correct(self) -> bool:
        """Whether the SQL is correct under the official reading."""
        return self.verdict is VerdictClass.CORRECT


@dataclass(frozen=True, slots=True)
class LadderCritique:
    """What a validator of the team wrote about a plan, beside the teacher's true critique of the same."""

    plan_id: str
    validator: Validator
    text: str
    verdict: Verdict
    true_text: str
    true_verdict: Verdict
    right_content: bool


@dataclass(frozen=True, slots=True)
class LadderFix:
    """The fixer's SQL for a plan under one kind of critiques; ``ends_correct`` is the plan's own without a SQL."""

    plan_id: str
    kind: CritiqueKind
    feedback: str
    sql: str | None
    ends_correct: bool


@dataclass(frozen=True, slots=True)
class LadderRows:
    """The three tables. Without validators there are no critiques, without a fixer no fixes."""

    plans: tuple[LadderPlan, ...]
    critiques: tuple[LadderCritique, ...]
    fixes: tuple[LadderFix, ...]
