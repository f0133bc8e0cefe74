"""A preference pair: what a better and a worse answer were, each under its own prompt."""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.agents import Messages


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """One training pair. The two prompts are equal except in the fixer's ``joint`` pairs.

    ``chosen_source`` and ``rejected_source`` name the pool rows that the answers came from.
    """

    pair_id: str
    agent: str
    regime: str
    question_id: int
    chosen_prompt: Messages
    rejected_prompt: Messages
    chosen: str
    rejected: str
    chosen_source: str
    rejected_source: str
