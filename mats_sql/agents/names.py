"""The agents' names: what their folders, registered models, settings and stage inputs are called."""

from __future__ import annotations

from mats_sql.agents.critique import Validator

PLANNER, FIXER, SELECTOR = "planner", "fixer", "selector"


def validator_name(validator: Validator) -> str:
    """Return a validator's name as an agent."""
    return f"{validator.value}-validator"


AGENTS = (PLANNER, *(validator_name(validator) for validator in Validator), FIXER, SELECTOR)
"""Every agent of a team, in the order of its flow."""
