"""The select validator: judges what a SQL selects against what the question asks."""

from __future__ import annotations

from mats_sql.agents.messages import Messages, user
from mats_sql.agents.review import Review, review_lines

PROMPT_VERSION = "select-validator-5"


def select_validator_messages(review: Review) -> Messages:
    """Return the select validator's prompt; :func:`~mats_sql.agents.critique.parse_critique` reads its answer."""
    return user(f"{review_lines(review)}\n\nFeedback on SELECT:")
