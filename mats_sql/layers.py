"""A checkpoint in layers: a base's files and the LoRA adapters that were trained on it, one after the other.

    base/         a checkpoint as transformers loads it; its files are linked, not copied
    adapters/1/   PEFT's files: trained on the base
    adapters/2/   trained on the base with 1 merged into it, …

What a LoRA training adds to the disk is its adapter alone, and the folder is whole all the same. Every reader of a
checkpoint comes through here: a folder without adapters is its own base. Its weights are what merging gives, done in
float32 and rounded once, to the base's number type.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mats_sql.errors import ModelError
from mats_sql.links import link_file, link_tree

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BASE = "base"
BASE_ELSEWHERE = "base.json"
"""What stands in a base's place where a tracking server keeps the base once for many (tracking/bases.py)."""
ADAPTERS = "adapters"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""PEFT's names of an adapter's files."""
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_INDEX = ".index.json"


def base_of(checkpoint: Path) -> Path:
    """Return the folder with a checkpoint's config, tokenizer and the weights that lie below its adapters.

    Raises :class:`ModelError` where the base is on a tracking server only.
    """
    if (checkpoint / BASE_ELSEWHERE).is_file() and not (checkpoint / BASE).exists():
        raise ModelError(
            f"a checkpoint's base must lie beside its adapters, but {checkpoint} names it in {BASE_ELSEWHERE}; get "
            "the model with mats-sql release, which puts it back"
        )
    return checkpoint / BASE if (checkpoint / ADAPTERS).is_dir() else checkpoint


def adapters_of(checkpoint: Path) -> list[Path]:
    """Return the folders of a checkpoint's adapters, the first trained first; none for full weights."""
    folder = checkpoint / ADAPTERS
    return sorted(folder.iterdir(), key=lambda adapter: int(adapter.name)) if folder.is_dir() else []


def begin_layer(draft: Path, below: Path) -> Path:
    """Make ``draft`` (an empty folder) a checkpoint on top of another; return the folder that its adapter goes to."""
    adapters = adapters_of(below)
    (draft / ADAPTERS).mkdir()
    _link_checkpoint(base_of(below), draft / BASE)
    for adapter in adapters:
        link_tree(adapter, draft / ADAPTERS / adapter.name)
    return draft / ADAPTERS / str(len(adapters) + 1)


def load_weights(checkpoint: Path | str, dtype: torch.dtype, **options: object) -> PreTrainedModel:
    """Return a causal language model, its adapters merged, with weights in ``dtype``.

    ``options`` are transformers'. Raises what transformers and PEFT raise for a checkpoint that does not load.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = Path(checkpoint)
    adapters = adapters_of(folder)
    if not adapters:
        return AutoModelForCausalLM.from_pretrained(str(checkpoint), dtype=dtype, **options)
    from peft import PeftModel

    base = str(base_of(folder))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **options)
    for adapter in adapters:
        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return model.to(AutoConfig.from_pretrained(base).dtype or torch.float32).to(dtype)


def write_merged(checkpoint: Path, out: Path) -> None:
    """Write a checkpoint with its adapters merged, in the base's number type: for those who read no layers."""
    import torch
    from transformers import AutoConfig

    base = base_of(checkpoint)
    load_weights(checkpoint, AutoConfig.from_pretrained(str(base)).dtype or torch.float32).save_pretrained(out)
    for path in _files(base):
        if not _holds_weights(path) and not (out / path.name).exists():
            shutil.copyfile(path, out / path.name)


@contextmanager
def merged(checkpoint: Path | str) -> Iterator[Path | str]:
    """Give a checkpoint without layers: itself, or a copy with merged weights that is deleted after the block."""
    if not adapters_of(Path(checkpoint)):
        yield checkpoint
        return
    with tempfile.TemporaryDirectory(prefix="mats-sql-merged-") as folder:
        write_merged(Path(checkpoint), Path(folder))
        yield Path(folder)


def adapter_rank(checkpoint: Path) -> int:
    """Return the rank of a checkpoint's adapters together, 0 for full weights."""
    return sum(int(_adapter_config(adapter)["r"]) for adapter in adapters_of(checkpoint))


def write_joined(checkpoint: Path, out: Path) -> None:
    """Write a checkpoint's adapters as one of PEFT's, for those who put one adapter on a base.

    What several adapters add to a weight is the sum of their products, and so the product of their factors side by
    side, each scaled by its own alpha / r. A module that an adapter leaves alone gets zeros from it.
    """
    from safetensors.torch import load_file, save_file

    adapters = adapters_of(checkpoint)
    configs = [_adapter_config(adapter) for adapter in adapters]
    weights = [load_file(adapter / ADAPTER_WEIGHTS) for adapter in adapters]
    modules = sorted({name.rsplit(".lora_", 1)[0] for tensors in weights for name in tensors})
    joined: dict[str, torch.Tensor] = {}
    for module in modules:
        first, second = _factors(module, weights, configs)
        joined |= {f"{module}.lora_A.weight": first, f"{module}.lora_B.weight": second}
    rank = adapter_rank(checkpoint)
    targets = sorted({name for config in configs for name in config["target_modules"]})
    config = {**configs[-1], "r": rank, "lora_alpha": rank, "target_modules": targets}
    save_file(joined, out / ADAPTER_WEIGHTS)
    (out / ADAPTER_CONFIG).write_text(json.dumps(config), encoding="utf-8")


@contextmanager
def one_adapter(checkpoint: Path) -> Iterator[Path]:
    """Give the folder of a checkpoint's only adapter, or of its adapters joined, which is deleted after the block."""
    adapters = adapters_of(checkpoint)
    if len(adapters) == 1:
        yield adapters[0]
        return
    with tempfile.TemporaryDirectory(prefix="mats-sql-adapter-") as folder:
        write_joined(checkpoint, Path(folder))
        yield Path(folder)


def _factors(
    module: str, weights: Sequence[Mapping[str, torch.Tensor]], configs: Sequence[Mapping[str, Any]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a module's joined factors, A [R, inputs] and B [outputs, R]."""
    import torch

    first, second = f"{module}.lora_A.weight", f"{module}.lora_B.weight"
    known = next(tensors for tensors in weights if first in tensors)
    rows, columns = [], []
    for tensors, config in zip(weights, configs, strict=True):
        rank = int(config["r"])
        inputs, outputs = known[first].shape[1], known[second].shape[0]
        rows.append(tensors[first] if first in tensors else known[first].new_zeros(rank, inputs))
        scale = float(config["lora_alpha"]) / rank
        columns.append(scale * tensors[second] if first in tensors else known[second].new_zeros(outputs, rank))
    return torch.cat(rows).contiguous(), torch.cat(columns, dim=1).contiguous()


def _adapter_config(adapter: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    return config


def _link_checkpoint(source: Path, target: Path) -> None:
    """Link what transformers loads, and no weights of another format beside it (``*.bin``, ``original/*.pth``)."""
    target.mkdir()
    files = _files(source)
    safe = any(path.suffix == ".safetensors" for path in files)
    for path in files:
        if not safe or not _holds_weights(path) or ".safetensors" in path.suffixes:
            link_file(str(path), str(target / path.name))


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]


def _holds_weights(path: Path) -> bool:
    return path.suffix in _WEIGHTS or path.name.endswith(_INDEX)
