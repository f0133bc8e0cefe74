"""The default engine: transformers models in this process, with our own decode loop (:mod:`.decoding`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from mats_sql.agents import Messages
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError, ModelError, one_line
from mats_sql.generation.branched_cache import register_shared_prompt_attention
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.chat_tokens import ChatTokens
from mats_sql.generation.decoding import BatchSize, Branch, Decoder, Prompt
from mats_sql.generation.draws import Draw, DrawingEngine, normalised
from mats_sql.generation.engine import Completion, Sampling


class TransformersEngine(DrawingEngine):
    """Draw from one checkpoint of any decoder-only model whose cache is keys and values.

    A prompt longer than ``max_prompt_tokens``, or than the model's context, is refused.
    """

    def __init__(self, settings: GenerationSettings, model: Path | str, cache: CompletionCache | None = None) -> None:
        """Load model and tokenizer. Raises :class:`ModelError` if the checkpoint is missing or has no chat template."""
        super().__init__(cache)
        self._tokens = ChatTokens(model)
        self._model = _load_model(settings, model)
        context = getattr(self._model.config, "max_position_embeddings", None) or settings.max_prompt_tokens + 1
        self._longest_prompt = min(settings.max_prompt_tokens, context - 1)
        size = BatchSize(settings.batch_tokens, settings.decode_rows)
        self._decoder = Decoder(self._model, self._tokens.stop_ids, size, shared=_share_prompts(self._model))

    def close(self) -> None:
        """Free the model's memory and close the cache."""
        super().close()
        del self._model, self._decoder
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _complete(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion | None]]:
        by_prompt: dict[Messages, list[int]] = {}
        for key, draw in enumerate(draws):
            by_prompt.setdefault(draw.messages, []).append(key)
        prompts = []
        for keys, tokens in zip(by_prompt.values(), self._tokens.prompts(list(by_prompt)), strict=True):
            if self._fits(tokens):
                prompts.append(Prompt(tokens, tuple(Branch(key, draws[key].seed) for key in keys)))
            else:
                yield from ((draws[key], None) for key in keys)
        for decoded in self._decoder.decode(prompts, sampling.temperature, sampling.max_new_tokens):
            completion = Completion(self._tokens.text(decoded.tokens), len(decoded.tokens), decoded.finished)
            yield draws[decoded.key], completion

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        endings = self._tokens.choices(prompts[0], choices)
        by_tokens: dict[tuple[int, ...], list[Messages]] = {}
        for messages, tokens in zip(prompts, self._tokens.prompts(prompts), strict=True):
            if self._fits(tokens):
                by_tokens.setdefault(tokens, []).append(messages)
            else:
                yield messages, None
        for tokens, totals in self._decoder.score(by_tokens, endings):
            yield from ((messages, normalised(totals)) for messages in by_tokens[tokens])

    def _fits(self, tokens: tuple[int, ...]) -> bool:
        return len(tokens) <= self._longest_prompt


def resolve_device(device: str) -> torch.device:
    """Return the device that ``auto`` or a torch name means. Raises :class:`EngineError` if torch cannot use it."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        problem = one_line(error)
        raise EngineError(f"generation.device must be usable, but {device!r}: {problem}; use auto or cpu") from None


def _load_model(settings: GenerationSettings, model: Path | str) -> PreTrainedModel:
    device = resolve_device(settings.device)
    try:
        disable_progress_bar()  # a bar per loaded file says nothing: stages show what runs
        loaded = AutoModelForCausalLM.from_pretrained(str(model), dtype=getattr(torch, settings.dtype))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"a model's weights must load, but {model}: {one_line(error)}; mend the files") from None
    layers = set(getattr(loaded.config, "layer_types", None) or ["full_attention"])
    if layers != {"full_attention"}:
        found = ", ".join(sorted(layers))
        raise ModelError(f"generation.engine=transformers needs full attention, but {model} has {found}; use vllm")
    return loaded.to(device).eval()


def _share_prompts(model: PreTrainedModel) -> bool:
    """Select the shared-prompt attention where the model takes one; say whether it did."""
    soft_capped = getattr(model.config, "attn_logit_softcapping", None) is not None
    if not model._supports_attention_backend or soft_capped:
        return False
    model.set_attn_implementation(register_shared_prompt_attention())
    return True
