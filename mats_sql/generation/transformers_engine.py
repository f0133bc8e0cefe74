"""The default engine: transformers models in this process, with our own decode loop (:mod:`.decoding`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from mats_sql.agents import Messages
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError, ModelError, one_line
from mats_sql.generation.branched_cache import register_shared_prompt_attention
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.checkpoint import check_full_attention
from mats_sql.generation.checkpoint_engine import CheckpointEngine
from mats_sql.generation.decoding import BatchSize, Branch, Decoder, Prompt
from mats_sql.generation.draws import Draw, normalised
from mats_sql.generation.engine import Completion, Sampling
from mats_sql.generation.loaded import LOADED, free_memory
from mats_sql.layers import load_weights

_MOST_ON_CPU = 8
"""More than a team has agents: on a CPU small models stay, as they cost little and are asked in turn."""


class TransformersEngine(CheckpointEngine):
    """Draw from one checkpoint of any decoder-only model whose cache is keys and values."""

    def __init__(self, settings: GenerationSettings, model: Path | str, cache: CompletionCache | None = None) -> None:
        """Look at the settings and the checkpoint, load nothing.

        Raises :class:`EngineError` for a device that torch cannot use.
        """
        super().__init__(settings, model, cache)
        self._device = resolve_device(settings.device)
        self._model: Decoder | None = None

    def load(self) -> None:
        """Load the checkpoint and count the start. Raises :class:`ModelError` when it does not load."""
        model = _load_model(self._settings, self._device, self._checkpoint)
        size = BatchSize(self._settings.batch_tokens, self._settings.decode_rows)
        self._model = Decoder(model, self._tokens.stop_ids, size, shared=_share_prompts(model))
        self.starts += 1

    def unload(self) -> None:
        """Free the checkpoint's memory; the next draw that no cache answers loads it again."""
        if self._model is not None:
            self._model = None
            free_memory()

    def close(self) -> None:
        """Free the model's memory and close the cache."""
        super().close()
        LOADED.unload(self)

    @contextmanager
    def _loaded(self) -> Iterator[Decoder]:
        """Give the loaded model, which stays in memory until the block ends."""
        most = _MOST_ON_CPU if self._device.type == "cpu" else 1
        with LOADED.holding(self, self._settings.loaded_models or most):
            assert self._model is not None
            yield self._model

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
        if not prompts:
            return
        with self._loaded() as decoder:
            for decoded in decoder.decode(prompts, sampling.temperature, sampling.max_new_tokens):
                completion = Completion(self._tokens.text(decoded.tokens), len(decoded.tokens), decoded.finished)
                yield draws[decoded.key], completion

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        endings = self._tokens.choices(prompts[0], choices)
        by_tokens: dict[tuple[int, ...], list[Messages]] = {}
        for messages, tokens in self._tokenized(prompts).items():
            if self._fits(tokens):
                by_tokens.setdefault(tokens, []).append(messages)
            else:
                yield messages, None
        if not by_tokens:
            return
        with self._loaded() as decoder:
            for tokens, totals in decoder.score(by_tokens, endings):
                yield from ((messages, normalised(totals)) for messages in by_tokens[tokens])


def resolve_device(device: str) -> torch.device:
    """Return the device that ``auto`` or a torch name means. Raises :class:`EngineError` if torch cannot use it."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        problem = one_line(error)
        raise EngineError(f"generation.device must be usable, but {device!r}: {problem}; use auto or cpu") from None


def _load_model(settings: GenerationSettings, device: torch.device, model: Path | str) -> PreTrainedModel:
    try:
        disable_progress_bar()  # a bar per loaded file says nothing: stages show what runs
        loaded = load_weights(model, getattr(torch, settings.dtype))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"a model's weights must load, but {model}: {one_line(error)}; mend the files") from None
    check_full_attention(model, getattr(loaded.config, "layer_types", None) or ())
    return loaded.to(device).eval()


def _share_prompts(model: PreTrainedModel) -> bool:
    """Select the shared-prompt attention where the model takes one; say whether it did."""
    soft_capped = getattr(model.config, "attn_logit_softcapping", None) is not None
    if not model._supports_attention_backend or soft_capped:
        return False
    model.set_attn_implementation(register_shared_prompt_attention())
    return True
