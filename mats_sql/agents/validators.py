"""The validators' prompts by name, for whoever asks all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mats_sql.agents.condition_validator import condition_validator_messages
from mats_sql.agents.critique import Validator
from mats_sql.agents.messages import Messages
from mats_sql.agents.review import Review
from mats_sql.agents.select_validator import select_validator_messages

VALIDATOR_MESSAGES: Mapping[Validator, Callable[[Review], Messages]] = MappingProxyType(
    {Validator.SELECT: select_validator_messages, Validator.CONDITION: condition_validator_messages}
)
"""Validator -> what turns a review into its prompt."""
