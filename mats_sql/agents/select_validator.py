"""The select validator: judges what a SQL selects against what the question asks."""

from __future__ import annotations

from mats_sql.agents.critique import Critique, Validator, parse_critique
from mats_sql.agents.messages import Messages, user
from mats_sql.agents.review import Review, review_lines

PROMPT_VERSION = "select-validator-1"


def select_validator_messages(review: Review) -> Messages:
    """Return the select validator's prompt."""
    return user(f"{review_lines(review)}\n\nFeedback on SELECT:")


def parse_select_critique(text: str) -> Critique:
    """Read the select validator's critique."""
    return parse_critique(Validator.SELECT, text)
