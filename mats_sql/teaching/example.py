"""A supervised example of one agent: a prompt and the answer it should give."""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.agents import Messages


@dataclass(frozen=True, slots=True)
class SftExample:
    """One prompt with its target answer; ``example_id`` names where it came from."""

    example_id: str
    messages: Messages
    answer: str
