"""The engine for vLLM in this process: for models too large for the transformers engine, on CUDA or CPU.

vLLM is an optional extra and is imported only when a checkpoint is loaded. Every draw is one vLLM request with its own
seed, so that a larger ``n`` only adds requests; prefix caching computes their common prompt once.

A choice that is one token is scored by that token's log-probability after the prompt, one request a prompt
(:class:`FirstTokens`); longer ones by a request each, whose prompt they end (:class:`WholeEndings`).

Covered by the conformance suite where vLLM is installed, and elsewhere by a stand-in for its interface over
transformers (``tests/generation/stand_in``): that says what is asked of vLLM, not what vLLM makes of it.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mats_sql.agents import Messages
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.checkpoint_engine import CheckpointEngine
from mats_sql.generation.draws import Draw, normalised
from mats_sql.generation.engine import Completion, Sampling
from mats_sql.generation.vllm_base import RANKS, Adapter, sequence_length, shared_base
from mats_sql.layers import adapter_rank, base_of, one_adapter

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams

_UNIT = 2048
_MAX_SEED = 2**63 - 1


class VllmEngine(CheckpointEngine):
    """Draw from one checkpoint with vLLM, which starts at the first draw that no cache answers.

    Checkpoints in layers share the vLLM of their base (:mod:`.vllm_base`), and their adapters answer.
    """

    def __init__(self, settings: GenerationSettings, model: Path | str, cache: CompletionCache | None = None) -> None:
        """Look whether vLLM is there, start nothing. Raises :class:`EngineError` if it is not installed."""
        super().__init__(settings, model, cache)
        if importlib.util.find_spec("vllm") is None:
            raise EngineError(
                "the vllm engine needs vLLM, but it is not installed; pip install 'mats-sql[vllm]' or use transformers"
            )
        self._resources = ExitStack()
        rank = adapter_rank(Path(model))
        self._rank = rank if rank <= RANKS[-1] else 0  # more than vLLM takes is merged
        self._base = shared_base(settings, base_of(Path(model)) if self._rank else model)
        self._number = self._base.join(self._rank)
        self._resources.callback(self._base.leave, self._number)

    def close(self) -> None:
        """Close the cache and let go of the base; its memory is freed when nobody else holds it."""
        super().close()
        self._resources.close()

    @cached_property
    def _adapter(self) -> Adapter | None:
        """The checkpoint's adapter, written as one where it has several; none for full weights."""
        if not self._rank:
            return None
        folder = self._resources.enter_context(one_adapter(Path(self._checkpoint)))
        return Adapter(self._number, self._rank, folder)

    def _complete(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion | None]]:
        tokens = self._tokenized([draw.messages for draw in draws])
        for draw in draws:
            if not self._fits(tokens[draw.messages]):
                yield draw, None
        stop_ids = sorted(self._tokens.stop_ids)
        fitting = iter([draw for draw in draws if self._fits(tokens[draw.messages])])
        while unit := list(islice(fitting, _UNIT)):
            parameters = [_parameters(draw, sampling, stop_ids) for draw in unit]
            outputs = self._run([tokens[draw.messages] for draw in unit], parameters)
            for draw, output in zip(unit, outputs, strict=True):
                answer = output.outputs[0]
                text = self._tokens.text(answer.token_ids)
                yield draw, Completion(text, len(answer.token_ids), answer.finish_reason == "stop")

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        """Score prompts a unit at a time, each unit in one call; a prompt must leave room for the longest choice."""
        tokens = self._tokenized(prompts)
        scoring = scoring_of(self._tokens.choices(prompts[0], choices))
        room = sequence_length(self._settings, self._context) - 1 - scoring.longest
        long = {messages for messages in prompts if not self._fits(tokens[messages]) or len(tokens[messages]) > room}
        yield from ((messages, None) for messages in prompts if messages in long)
        fitting = iter([messages for messages in prompts if messages not in long])
        while unit := list(islice(fitting, max(1, _UNIT // scoring.requests_per_prompt))):
            asked = [list(ids) for messages in unit for ids in scoring.prompts(tokens[messages])]
            outputs = iter(self._run(asked, [scoring.parameters()] * len(asked)))
            for messages in unit:
                of_prompt = list(islice(outputs, scoring.requests_per_prompt))
                yield messages, normalised(scoring.logprobs(of_prompt))

    def _run(self, prompts: Sequence[Sequence[int]], parameters: Sequence[SamplingParams]) -> list[RequestOutput]:
        before = self._base.starts
        try:
            return self._base.run(prompts, parameters, self._adapter)
        finally:
            self.starts += self._base.starts - before


def _parameters(draw: Draw, sampling: Sampling, stop_ids: list[int]) -> SamplingParams:
    from vllm import SamplingParams

    temperature = 0.0 if draw.seed is None else sampling.temperature
    seed = None if draw.seed is None else draw.seed & _MAX_SEED
    return SamplingParams(
        temperature=temperature,
        max_tokens=sampling.max_new_tokens,
        seed=seed,
        stop_token_ids=stop_ids,
        detokenize=False,  # its own text holds an unfinished character back; every engine here reads tokens alike
    )


def scoring_of(endings: Sequence[Sequence[int]]) -> FirstTokens | WholeEndings:
    """Return how to score these choices' tokens: by the first token where each is one and no two are equal."""
    firsts = {ending[0] for ending in endings if len(ending) == 1}
    if len(firsts) == len(endings):
        return FirstTokens(tuple(ending[0] for ending in endings))
    return WholeEndings(tuple(tuple(ending) for ending in endings))


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """Choices of one token each: one generated token tells them all.

    ``logprob_token_ids`` asks for these tokens' shares of the model's whole distribution, however unlikely they are; a
    mask of allowed tokens would not: vLLM reports what stood before it.
    """

    tokens: tuple[int, ...]
    requests_per_prompt: ClassVar[int] = 1
    longest: ClassVar[int] = 0

    def parameters(self) -> SamplingParams:
        """Return what to ask of vLLM."""
        from vllm import SamplingParams

        wanted = list(self.tokens)
        return SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=wanted, detokenize=False)

    def prompts(self, prompt: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the requests for one prompt."""
        return [prompt]

    def logprobs(self, outputs: Sequence[RequestOutput]) -> list[float]:
        """Return each choice's log-probability from one prompt's outputs."""
        [output] = outputs
        listed = output.outputs[0].logprobs[0]
        return [listed[token].logprob for token in self.tokens]


@dataclass(frozen=True, slots=True)
class WholeEndings:
    """Choices of several tokens: each is a request of its own, whose prompt ends in it."""

    endings: tuple[tuple[int, ...], ...]

    @property
    def requests_per_prompt(self) -> int:
        """How many requests a prompt needs."""
        return len(self.endings)

    @property
    def longest(self) -> int:
        """How many tokens of a choice stand in a request at most."""
        return max(len(ending) for ending in self.endings)

    def parameters(self) -> SamplingParams:
        """Return what to ask of vLLM."""
        from vllm import SamplingParams

        return SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)

    def prompts(self, prompt: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the requests for one prompt."""
        return [(*prompt, *ending) for ending in self.endings]

    def logprobs(self, outputs: Sequence[RequestOutput]) -> list[float]:
        """Return each choice's log-probability from one prompt's outputs."""
        return [_ending_logprob(output, len(ending)) for output, ending in zip(outputs, self.endings, strict=True)]


def _ending_logprob(output: RequestOutput, length: int) -> float:
    """Return the log-probability of the last ``length`` tokens of a prompt."""
    logprobs, tokens = output.prompt_logprobs, output.prompt_token_ids
    return math.fsum(logprobs[index][tokens[index]].logprob for index in range(len(tokens) - length, len(tokens)))
