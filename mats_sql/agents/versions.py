"""The version of every agent's prompt: part of the lineage of whatever a model wrote or was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mats_sql.agents import condition_validator, fixer, planner, select_validator, selector

PROMPT_VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        "planner": planner.PROMPT_VERSION,
        "select": select_validator.PROMPT_VERSION,
        "condition": condition_validator.PROMPT_VERSION,
        "fixer": fixer.PROMPT_VERSION,
        "selector": selector.PROMPT_VERSION,
    }
)
"""Agent -> version. A prompt or an answer format that changes gets a new version (a test holds their digests)."""
