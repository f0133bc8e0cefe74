"""What a checkpoint's files say before its weights are loaded: whether they can serve, and how long its context is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mats_sql.errors import ModelError, one_line
from mats_sql.layers import ADAPTER_CONFIG, adapters_of, base_of

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
"""What weights in one file are called; an index beside shards has such a name and `.index.json`."""
_FULL_ATTENTION = "full_attention"


def check_checkpoint(model: Path) -> None:
    """Look at a checkpoint's folder. Raises :class:`ModelError` for what is missing: config, weights, chat template.

    Only names and small files are read: that the weights are whole is seen when they are loaded.
    """
    for adapter in adapters_of(model):
        if not (adapter / ADAPTER_CONFIG).is_file() or not list(adapter.glob("*.safetensors")):
            raise ModelError(f"a model's adapter must load, but {adapter} is not whole; copy the whole checkpoint")
    model = base_of(model)
    if not (model / "config.json").is_file():
        raise ModelError(f"a model must be a folder with config.json, but {model} is not one; give another path")
    _read(model / "config.json")
    if not any(path.is_file() for pattern in _WEIGHTS for path in model.glob(pattern)):
        raise ModelError(f"a model's weights must load, but {model} has none; copy the whole checkpoint")
    missing = next((shard for shard in listed_shards(model) if not (model / shard).is_file()), None)
    if missing is not None:
        raise ModelError(f"a model's weights must load, but {model} lacks {missing}; copy the whole checkpoint")
    if not has_chat_template(model):
        raise no_chat_template(model)


def listed_layers(model: Path) -> list[str]:
    """Return how each of a model's layers attends, as far as its config lists it."""
    layers = _read(base_of(model) / "config.json").get("layer_types")
    return [str(layer) for layer in layers] if isinstance(layers, list) else []


def check_full_attention(model: Path | str, layers: Iterable[str]) -> None:
    """Raise :class:`ModelError` if any layer attends in another way than fully."""
    kinds = sorted(set(layers))
    if any(kind != _FULL_ATTENTION for kind in kinds):
        raise ModelError(
            f"generation.engine=transformers needs full attention, but {model} has {', '.join(kinds)}; use vllm"
        )


def no_chat_template(model: Path | str) -> ModelError:
    """Return the error for a tokenizer that cannot write a chat."""
    return ModelError(f"a tokenizer must have a chat template, but {model} has none; add chat_template.jinja")


def context_length(model: Path | str) -> int | None:
    """Return how many tokens a model's context holds, prompt and answer together; none if its config does not say."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(base_of(Path(model)))).get_text_config()
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"a model's config must load, but {model}: {one_line(error)}; mend the files") from None
    tokens = getattr(config, "max_position_embeddings", None)
    return int(tokens) if tokens else None


def listed_shards(model: Path) -> list[str]:
    """Return the files that the index of a checkpoint's weights lists; none without an index.

    Raises :class:`ModelError` for an index that is none.
    """
    for index in (model / f"{single}.index.json" for single in SINGLE_FILES):
        if index.is_file():
            placed = _read(index).get("weight_map")
            if not isinstance(placed, dict):
                raise ModelError(f"a model's {index.name} must list its shards, but {index} does not; mend the file")
            return sorted({str(shard) for shard in placed.values()})
    return []


def has_chat_template(model: Path) -> bool:
    """Return whether a tokenizer's files hold a chat template. Raises :class:`ModelError` for broken settings."""
    if (model / "chat_template.jinja").is_file() or (model / "chat_template.json").is_file():
        return True
    settings = model / "tokenizer_config.json"
    return settings.is_file() and bool(_read(settings).get("chat_template"))


def _read(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"a model's {path.name} must load, but {path}: {one_line(error)}; mend the file") from None
    if not isinstance(document, dict):
        raise ModelError(f"a model's {path.name} must load, but {path} holds no JSON object; mend the file")
    return document
