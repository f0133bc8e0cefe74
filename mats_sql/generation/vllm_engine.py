"""The engine for vLLM in this process: for models too large for the transformers engine, on CUDA or CPU.

vLLM is an optional extra and is imported only when an engine is opened. Every draw is one vLLM request with its own
seed, so that a larger ``n`` only adds requests; prefix caching computes their common prompt once. Chunked prefill is
off: with per-request seeds vLLM crashes when a prompt is split over several steps.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mats_sql.agents import Messages
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError, one_line
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.checkpoint_engine import CheckpointEngine
from mats_sql.generation.draws import Draw, normalised
from mats_sql.generation.engine import Completion, Sampling

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams

_UNIT = 2048
_MAX_SEED = 2**63 - 1


class VllmEngine(CheckpointEngine["LLM"]):
    """Draw from one checkpoint with vLLM, which starts at the first draw that no cache answers."""

    def __init__(self, settings: GenerationSettings, model: Path | str, cache: CompletionCache | None = None) -> None:
        """Look whether vLLM is there, start nothing. Raises :class:`EngineError` if it is not installed."""
        super().__init__(settings, model, cache)
        if importlib.util.find_spec("vllm") is None:
            raise EngineError(
                "the vllm engine needs vLLM, but it is not installed; pip install 'mats-sql[vllm]' or use transformers"
            )

    @property
    def _most_loaded(self) -> int:
        return 1  # one takes gpu_memory_utilization of the card, whatever its size

    def _start(self) -> LLM:
        return _start(self._settings, self._checkpoint)

    def _stop(self, model: LLM) -> None:
        model.llm_engine.engine_core.shutdown()

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
                yield draw, Completion(answer.text, len(answer.token_ids), answer.finish_reason == "stop")

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        """Score each choice as the end of a prompt; prefix caching computes the prompt itself once."""
        from vllm import SamplingParams

        tokens = self._tokenized(prompts)
        endings = self._tokens.choices(prompts[0], choices)
        parameters = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        for messages in prompts:
            ids = tokens[messages]
            if not self._fits(ids):
                yield messages, None
                continue
            outputs = self._run([[*ids, *ending] for ending in endings], [parameters] * len(choices))
            totals = [_ending_logprob(output, len(ids)) for output in outputs]
            yield messages, normalised(totals)

    def _run(self, prompts: Sequence[Sequence[int]], parameters: Sequence[SamplingParams]) -> list[RequestOutput]:
        from vllm import TokensPrompt
        from vllm.v1.engine.exceptions import EngineDeadError

        asked = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts]
        try:
            with self._loaded() as llm:
                outputs: list[RequestOutput] = llm.generate(asked, list(parameters), use_tqdm=False)
        except EngineDeadError as error:
            raise EngineError(
                f"vLLM's engine must live until all is drawn, but: {one_line(error)}; lower generation.decode_rows, or "
                "look for the cause above"
            ) from None
        return outputs


def _parameters(draw: Draw, sampling: Sampling, stop_ids: list[int]) -> SamplingParams:
    from vllm import SamplingParams

    temperature = 0.0 if draw.seed is None else sampling.temperature
    seed = None if draw.seed is None else draw.seed & _MAX_SEED
    return SamplingParams(
        temperature=temperature, max_tokens=sampling.max_new_tokens, seed=seed, stop_token_ids=stop_ids
    )


def _ending_logprob(output: RequestOutput, start: int) -> float:
    """Return the log-probability of a prompt's tokens from ``start`` on."""
    logprobs, tokens = output.prompt_logprobs, output.prompt_token_ids
    return math.fsum(logprobs[index][tokens[index]].logprob for index in range(start, len(tokens)))


def _start(settings: GenerationSettings, model: Path | str) -> LLM:
    from vllm import LLM

    try:
        return LLM(
            model=str(model),
            dtype=settings.dtype,
            max_num_batched_tokens=max(settings.batch_tokens, settings.max_prompt_tokens),
            max_num_seqs=settings.decode_rows,
            enable_prefix_caching=True,
            enable_chunked_prefill=False,
            generation_config="vllm",
            seed=0,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(f"vLLM must start with {model}, but: {one_line(error)}; check model and memory") from None
