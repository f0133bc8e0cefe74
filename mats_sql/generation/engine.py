"""The one interface through which text comes out of a model.

An engine is bound to one checkpoint, which it loads when it first has something to compute. Draws depend on (seed, item
id, sample index) alone: not on the order of requests, the batch size or what else is in a batch. ``sample 0`` is greedy
when ``greedy_first`` is set, and a draw with a larger ``n`` extends a draw with a smaller one (samples are a prefix).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mats_sql.agents import Messages


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt. ``item_id`` names it for randomness; two requests with equal ids and messages draw equally."""

    item_id: str
    messages: Messages


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw. ``temperature`` 0 means every sample is greedy (then ``n`` must be 1)."""

    n: int = 1
    temperature: float = 1.0
    max_new_tokens: int = 256
    greedy_first: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. ``finished`` is false when ``max_new_tokens`` cut it, or when the prompt was refused as over-long."""

    text: str
    token_count: int
    finished: bool


class Engine(Protocol):
    """Draw completions, and read the probabilities of fixed answers."""

    @property
    def overlong(self) -> tuple[str, ...]:
        """The ids of all requests so far that were refused because their prompt is too long, each once."""
        ...

    @property
    def starts(self) -> int:
        """How often the checkpoint was loaded so far."""
        ...

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[tuple[Completion, ...]]:
        """Return ``sampling.n`` completions per request, in the order of the requests."""
        ...

    def choice_logprobs(self, requests: Sequence[Request], choices: tuple[str, ...]) -> list[tuple[float, ...]]:
        """Return, per request, each choice's log-probability normalised over the choices (they sum to one)."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...
