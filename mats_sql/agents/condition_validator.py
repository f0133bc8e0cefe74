"""The condition validator: judges a SQL's conditions against what the question asks."""

from __future__ import annotations

from mats_sql.agents.critique import Critique, Validator, parse_critique
from mats_sql.agents.messages import Messages, user
from mats_sql.agents.review import Review, review_lines

PROMPT_VERSION = "condition-validator-1"


def condition_validator_messages(review: Review) -> Messages:
    """Return the condition validator's prompt."""
    return user(f"{review_lines(review)}\n\nFeedback on CONDITION:")


def parse_condition_critique(text: str) -> Critique:
    """Read the condition validator's critique."""
    return parse_critique(Validator.CONDITION, text)
