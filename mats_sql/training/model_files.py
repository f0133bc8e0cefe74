"""Read a base checkpoint for training, and write the trained one atomically."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from mats_sql.errors import ModelError, one_line
from mats_sql.layers import base_of, load_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)
"""What transformers raises for a checkpoint that is absent, torn or of an unknown kind."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A model for training, its folder and tokenizer, and what its files said that training changes on the way."""

    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    file_dtype: torch.dtype
    use_cache: bool


def load_base(base: Path, dtype: torch.dtype | None = None) -> BaseModel:
    """Read a causal language model with a fast tokenizer, chat template and end-of-sequence token.

    Weights are held in ``dtype``, by default in float32 whatever the files hold: half-precision weights lose small
    updates, so another type is for weights that are not trained. Raises :class:`ModelError`.
    """
    import torch
    from transformers import AutoConfig

    held = dtype or torch.float32

    tokenizer = load_tokenizer(base)
    try:
        config = AutoConfig.from_pretrained(str(base_of(base)))
        model = load_weights(base, held, attn_implementation="sdpa")
    except _UNREADABLE as error:
        raise _unreadable(base, error) from None
    return BaseModel(base, model, tokenizer, config.dtype or torch.float32, config.use_cache)


def load_tokenizer(base: Path) -> PreTrainedTokenizerBase:
    """Read a tokenizer that can train a chat model; raises :class:`ModelError` when it cannot."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base_of(base)))
    except _UNREADABLE as error:
        raise _unreadable(base, error) from None
    _check_tokenizer(base, tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked everywhere, so any token will do
    return tokenizer


def write_checkpoint(out: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a sibling folder, then rename it to ``out``: what stands there is complete or absent."""
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    write(draft)
    if out.exists():
        shutil.rmtree(out)
    draft.rename(out)


def _check_tokenizer(base: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    missing = None
    if not tokenizer.is_fast:
        missing = "a fast tokenizer (tokenizer.json)"
    elif tokenizer.chat_template is None:
        missing = "a chat template"
    elif tokenizer.eos_token is None:
        missing = "an end-of-sequence token"
    if missing:
        raise ModelError(f"a base model must have {missing}, but {base} has none; choose a chat model's checkpoint")


def _unreadable(base: Path, error: Exception) -> ModelError:
    return ModelError(f"a base model must be a readable transformers checkpoint, but {base}: {one_line(error)}")
