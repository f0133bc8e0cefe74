"""Whether a checkpoint's folder is complete, without loading it: what transformers will look for is there and whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mats_sql.errors import ModelError
from mats_sql.generation import SINGLE_FILES, has_chat_template, listed_shards
from mats_sql.layers import base_of
from mats_sql.shapes import ModelShape, published, shape_of

_HEADER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that the config names: its folder if there is one, what that lacks, and its shape if it is known."""

    name: str
    folder: Path | None
    problems: tuple[str, ...]
    shape: ModelShape | None


def look_at_checkpoint(name: str) -> Checkpoint:
    """Return what is known of a model named as in ``models``; a missing one may still have a published shape."""
    from mats_sql.pipeline import base_folder

    try:
        folder = base_folder(name)
    except ModelError:
        known = published(name)
        here = Path(name).expanduser().is_dir()
        told = "config.json is missing" if here else "there is no such folder, and the hub's cache has no copy"
        return Checkpoint(name, None, (told,), known.shape if known else None)
    folder = base_of(folder)
    shape, problem = _shape(folder)
    problems = ((problem,) if problem else ()) + _tokenizer_problems(folder) + weight_problems(folder)
    return Checkpoint(name, folder, problems, shape)


def weight_problems(folder: Path) -> tuple[str, ...]:
    """Return what is wrong with a folder's weights: a shard that its index lists is missing, a file is cut short."""
    single = next((folder / name for name in SINGLE_FILES if (folder / name).is_file()), None)
    if single is not None:
        return _torn([single])
    try:
        listed = listed_shards(folder)
    except ModelError as error:
        return (str(error),)
    if not listed:
        return (f"the weights are missing ({' or '.join(SINGLE_FILES)}, or an index of shards)",)
    absent = [name for name in listed if not (folder / name).is_file()]
    torn = _torn([folder / name for name in listed if name not in absent])
    return ((f"{len(absent)} of {len(listed)} shards are missing: {_first(absent)}",) if absent else ()) + torn


def _torn(files: list[Path]) -> tuple[str, ...]:
    torn = [path.name for path in files if path.suffix == ".safetensors" and not _is_whole(path)]
    return (f"cut short or no safetensors: {_first(torn)}",) if torn else ()


def _is_whole(path: Path) -> bool:
    """Return whether a safetensors file is as long as its header says (https://github.com/huggingface/safetensors)."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_HEADER_BYTES), "little")
        if length > size:
            return False
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return False
    return size == _HEADER_BYTES + length + max(ends, default=0)


def _shape(folder: Path) -> tuple[ModelShape | None, str]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return (shape_of(config), "") if isinstance(config, dict) else (None, "config.json is no JSON object")
    except (OSError, ValueError) as error:
        return None, f"config.json: {error}"


def _tokenizer_problems(folder: Path) -> tuple[str, ...]:
    problems = [] if (folder / "tokenizer.json").is_file() else ["tokenizer.json (a fast tokenizer) is missing"]
    path = folder / "tokenizer_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (*problems, "tokenizer_config.json is missing or no JSON")
    if not isinstance(settings, dict):
        return (*problems, "tokenizer_config.json is no JSON object")
    if not has_chat_template(folder):
        problems.append("there is no chat template (choose a chat model, an -Instruct)")
    if not settings.get("eos_token"):
        problems.append("the tokenizer has no end-of-sequence token")
    return tuple(problems)


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
