"""Chat messages: what every agent's prompt is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn: ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


Messages = tuple[ChatMessage, ...]


def user(content: str) -> Messages:
    """Return a one-turn prompt."""
    return (ChatMessage("user", content),)


def as_dicts(messages: Messages) -> list[dict[str, str]]:
    """Return messages in the shape chat templates and servers take."""
    return [{"role": message.role, "content": message.content} for message in messages]
