"""The selector: a pointwise yes/no judge of one candidate; its score is P(yes)."""

from __future__ import annotations

from collections.abc import Sequence

from mats_sql.agents.critique import Critique
from mats_sql.agents.messages import Messages, user
from mats_sql.agents.review import Review, review_lines

PROMPT_VERSION = "selector-5"
YES, NO = "yes", "no"


def selector_messages(review: Review, critiques: Sequence[Critique]) -> Messages:
    """Return the selector's prompt: schema, question, evidence, SQL, its execution response and its critiques."""
    verdicts = "\n".join(f"{critique.validator.value} : {critique.verdict.value}" for critique in critiques) or "none"
    return user(f"{review_lines(review)}\nFeedback for the SQL query:\n{verdicts}\n\nIs the SQL correct?")
