"""What a pretraining leaves on disk: its tokenizer, its last checkpoint, snapshots of the model along the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from mats_sql.lab.pretraining_batches import Place

_WEIGHTS = "weights.pt"


_BEGINNING = Place()


@dataclass(frozen=True, slots=True)
class Begun:
    """How far a training came: steps done, the place after them, and the losses since it last logged."""

    step: int = 0
    place: Place = _BEGINNING
    recent: tuple[float, ...] = ()


def snapshot_folder(state: Path, examples: int) -> Path:
    """Return the folder of the model as it was after so many examples."""
    return state / "snapshots" / f"{examples:07d}"


def read_tokenizer(state: Path, make: Callable[[], Tokenizer]) -> Tokenizer:
    """Return the training's tokenizer, made and written when there is none yet."""
    path = state / "tokenizer.json"
    if path.is_file():
        return Tokenizer.from_file(str(path))
    tokenizer = make()
    state.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    tokenizer.save(str(unfinished))
    unfinished.replace(path)
    return tokenizer


def read_state(state: Path, rank: int, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer) -> Begun:
    """Load the last checkpoint into model and optimizer; return how far process ``rank`` was, or the beginning."""
    folder = _last(state)
    if folder is None:
        return Begun()
    weights = torch.load(folder / _WEIGHTS, weights_only=True)
    model.load_state_dict(weights["model"])
    optimizer.load_state_dict(weights["optimizer"])
    told = json.loads((folder / f"process-{rank}.json").read_text(encoding="utf-8"))
    return Begun(told["step"], Place(**told["place"]), tuple(told["recent"]))


def write_state(
    accelerator: Accelerator,
    state: Path,
    step: int,
    place: Place,
    recent: Sequence[float],
    model: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint with every process's part, then let it take the place of the one before."""
    unfinished = state / "unfinished"
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        inner = getattr(optimizer, "optimizer", optimizer)
        torch.save({"model": model.state_dict(), "optimizer": inner.state_dict()}, unfinished / _WEIGHTS)
    accelerator.wait_for_everyone()
    begun = asdict(Begun(step, place, tuple(recent)))
    part = unfinished / f"process-{accelerator.process_index}.json"
    part.write_text(json.dumps(begun), encoding="utf-8")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        before = _last(state)
        unfinished.replace(state / f"step-{step:07d}")
        if before is not None:
            shutil.rmtree(before)


def _last(state: Path) -> Path | None:
    return max(state.glob("step-*"), default=None)
