"""What every engine shares: turning requests into distinct draws, and answering known ones from the cache.

A *draw* is the unit of work: one prompt and either nothing else (greedy) or the seed of one random stream, derived from
(seed, item id, sample index). Equal draws have equal answers, so each is computed once; and since a sample's index is
in its seed, a larger ``n`` only adds draws: samples are a prefix.

A prompt may be longer than an engine takes. That is data that failed, not an error that ends a run: its completions are
empty and unfinished, its choices equally likely. Nothing is ever truncated. Such a refusal is no answer of the model,
so it is never cached: an engine that takes longer prompts answers it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mats_sql.agents import Messages
from mats_sql.errors import EngineError
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.engine import Completion, Request, Sampling
from mats_sql.seeds import derive_seed

MAX_CHOICES = 64

_UNANSWERED = Completion("", 0, finished=False)

Item = TypeVar("Item")
Result = TypeVar("Result")

OnDrawn = Callable[[int, int], None]
"""Receives (how many are done, of how many) of the draws or scored prompts that one call has to compute."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One completion to compute. ``seed`` none means greedy."""

    messages: Messages
    seed: int | None


class DrawingEngine(ABC):
    """An :class:`~mats_sql.generation.engine.Engine` for subclasses that know how to compute draws and scores."""

    def __init__(self, cache: CompletionCache | None = None) -> None:
        self._cache = cache
        self.computed = 0
        """How many draws and prompts were computed or scored: neither read from the cache nor refused."""
        self.starts = 0
        """How often a checkpoint was loaded: not at all while a cache answers, again after making room for others."""
        self.on_drawn: OnDrawn | None = None
        self._overlong: dict[str, None] = {}

    @property
    def overlong(self) -> tuple[str, ...]:
        """The ids of all requests so far that were refused as over-long, each once, in the order of the requests."""
        return tuple(self._overlong)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[tuple[Completion, ...]]:
        """Return ``sampling.n`` completions per request, in the order of the requests."""
        _check(sampling)
        wanted = [[_draw(request, sampling, index) for index in range(sampling.n)] for request in requests]
        distinct = list(dict.fromkeys(draw for draws in wanted for draw in draws))
        known = self._known(distinct, sampling)
        for draw, completion in self._answered([draw for draw in distinct if draw not in known], sampling):
            known[draw] = completion
        self._note_refused(
            request for request, draws in zip(requests, wanted, strict=True) if any(draw not in known for draw in draws)
        )
        return [tuple(known.get(draw, _UNANSWERED) for draw in draws) for draws in wanted]

    def choice_logprobs(self, requests: Sequence[Request], choices: tuple[str, ...]) -> list[tuple[float, ...]]:
        """Return, per request, each choice's log-probability normalised over the choices (they sum to one)."""
        if not 2 <= len(choices) <= MAX_CHOICES or len(set(choices)) < len(choices):
            raise EngineError(f"choices must be 2 to {MAX_CHOICES} different texts, but got {choices!r}; mend the list")
        distinct = list(dict.fromkeys(request.messages for request in requests))
        known = self._cache.scores(distinct, choices) if self._cache is not None else {}
        for messages, logprobs in self._scored([messages for messages in distinct if messages not in known], choices):
            known[messages] = logprobs
        self._note_refused(request for request in requests if request.messages not in known)
        equal = normalised([0.0] * len(choices))
        return [known.get(request.messages, equal) for request in requests]

    def close(self) -> None:
        """Free the model and close the cache."""
        if self._cache is not None:
            self._cache.close()

    @abstractmethod
    def _complete(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion | None]]:
        """Compute distinct draws and yield each as soon as it is there, in any order; None refuses an over-long prompt.

        Of ``sampling`` only ``temperature`` and ``max_new_tokens`` matter; each draw carries its own seed.
        """

    @abstractmethod
    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        """Yield each distinct prompt with its choices' normalised log-probabilities, in any order; None as above."""

    def _known(self, draws: Sequence[Draw], sampling: Sampling) -> dict[Draw, Completion]:
        if self._cache is None:
            return {}
        found = self._cache.completions(
            [(draw.messages, draw.seed) for draw in draws], sampling.temperature, sampling.max_new_tokens
        )
        return {Draw(messages, seed): completion for (messages, seed), completion in found.items()}

    def _answered(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion]]:
        """Compute draws, storing them as they come: what a killed process had done is not done again."""
        if not draws:
            return
        for draw, completion in self._counted(self._complete(draws, sampling), len(draws)):
            if self._cache is not None:
                key = (draw.messages, draw.seed)
                self._cache.add_completion(key, sampling.temperature, sampling.max_new_tokens, completion)
            yield draw, completion
        if self._cache is not None:
            self._cache.commit()

    def _scored(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...]]]:
        """Score prompts, storing the scores as they come."""
        if not prompts:
            return
        for messages, logprobs in self._counted(self._score(prompts, choices), len(prompts)):
            if self._cache is not None:
                self._cache.add_score(messages, choices, logprobs)
            yield messages, logprobs
        if self._cache is not None:
            self._cache.commit()

    def _counted(self, results: Iterable[tuple[Item, Result | None]], total: int) -> Iterator[tuple[Item, Result]]:
        """Tell how far the work is, and pass on what was not refused."""
        for done, (item, result) in enumerate(results, 1):
            if self.on_drawn is not None:
                self.on_drawn(done, total)
            if result is not None:
                self.computed += 1
                yield item, result

    def _note_refused(self, requests: Iterable[Request]) -> None:
        self._overlong.update(dict.fromkeys(request.item_id for request in requests))


def normalised(totals: Sequence[float]) -> tuple[float, ...]:
    """Return log-probabilities shifted so that their probabilities sum to one."""
    highest = max(totals)
    scale = highest + math.log(math.fsum(math.exp(total - highest) for total in totals))
    return tuple(total - scale for total in totals)


def _draw(request: Request, sampling: Sampling, index: int) -> Draw:
    if sampling.temperature == 0 or (index == 0 and sampling.greedy_first):
        return Draw(request.messages, None)
    return Draw(request.messages, derive_seed(sampling.seed, "generate", request.item_id, index))


def _check(sampling: Sampling) -> None:
    if sampling.n < 1 or sampling.max_new_tokens < 1:
        raise EngineError(
            f"n and max_new_tokens must be at least 1, but got n={sampling.n}, "
            f"max_new_tokens={sampling.max_new_tokens}; raise them"
        )
    if sampling.temperature < 0:
        raise EngineError(f"the temperature must not be negative, but got {sampling.temperature}; use 0 for greedy")
    if sampling.temperature == 0 and sampling.n != 1:
        raise EngineError(f"n must be 1 at temperature 0, but got n={sampling.n}; every sample would be the same")
