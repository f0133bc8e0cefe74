"""Chat messages: what every agent's prompt is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from mats_sql.parquet import ColumnAdapter


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn: ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


def as_dicts(messages: tuple[ChatMessage, ...]) -> list[dict[str, str]]:
    """Return messages in the shape chat templates and servers take."""
    return [{"role": message.role, "content": message.content} for message in messages]


def as_json(messages: tuple[ChatMessage, ...]) -> str:
    """Return messages as the JSON that a table's column holds."""
    return json.dumps(as_dicts(messages), ensure_ascii=False)


def from_json(text: str) -> tuple[ChatMessage, ...]:
    """Read what :func:`as_json` wrote; raises ``ValueError``, ``TypeError`` or ``KeyError`` for anything else."""
    return tuple(ChatMessage(item["role"], item["content"]) for item in json.loads(text))


Messages = Annotated[tuple[ChatMessage, ...], ColumnAdapter(as_json, from_json)]
"""A prompt. In a table it is one column of JSON."""


def user(content: str) -> Messages:
    """Return a one-turn prompt."""
    return (ChatMessage("user", content),)
