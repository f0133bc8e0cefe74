"""The version of every agent's prompt: part of the lineage of whatever a model wrote or was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mats_sql.agents import condition_validator, fixer, planner, select_validator, selector
from mats_sql.agents.critique import Validator
from mats_sql.agents.names import FIXER, PLANNER, SELECTOR

PROMPT_VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        PLANNER: planner.PROMPT_VERSION,
        Validator.SELECT.value: select_validator.PROMPT_VERSION,
        Validator.CONDITION.value: condition_validator.PROMPT_VERSION,
        FIXER: fixer.PROMPT_VERSION,
        SELECTOR: selector.PROMPT_VERSION,
    }
)
"""Agent -> version. A prompt or an answer format that changes gets a new version (a test holds their digests)."""
