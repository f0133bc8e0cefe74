"""The fixer: a SQL, its execution response and the critiques that complain in, a SQL out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mats_sql.agents.critique import Critique, Verdict
from mats_sql.agents.messages import Messages, user
from mats_sql.agents.review import Review, review_lines
from mats_sql.sql import extract_sql

PROMPT_VERSION = "fixer-5"

FIXED_CRITIQUE = "CONDITION.\nConclude: incorrect."
"""The one critique of the reference's fixer examples (handoff, section 3.1), kept as a baseline."""

NO_COMPLAINT = "none"
"""What stands for the critiques when none complains."""


@dataclass(frozen=True, slots=True)
class Fix:
    """The fixer's text and its SQL (``None`` when there is none)."""

    text: str
    sql: str | None


def fixer_messages(review: Review, feedback: str) -> Messages:
    """Return the fixer's prompt; ``feedback`` comes from :func:`feedback_text` or is :data:`FIXED_CRITIQUE`."""
    return user(f"{review_lines(review)}\nFeedback for the SQL query:\n{feedback}\n\nFIXED SQL:")


def feedback_text(critiques: Sequence[Critique]) -> str:
    """Return the critiques that do not approve, in order; approving ones are blanked. A missing verdict is shown."""
    complaints = [critique.text for critique in critiques if critique.verdict is not Verdict.CORRECT]
    return "\n".join(complaints) or NO_COMPLAINT


def parse_fix(text: str) -> Fix:
    """Read a fix; tolerant of fences and prose."""
    return Fix(text, extract_sql(text))
