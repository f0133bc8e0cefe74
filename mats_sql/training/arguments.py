"""The transformers arguments that both trainers share, and where they compute."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from mats_sql.config import TrainerSettings
from mats_sql.seeds import derive_seed
from mats_sql.threads import usable_cores
from mats_sql.training.order import visit_count


def trainer_arguments(settings: TrainerSettings, visits: int, *, work: Path, seed: int, keep: int) -> dict[str, object]:
    """Return keyword arguments for ``TrainingArguments`` and its subclasses, for a training of that many visits.

    ``work`` receives the checkpoints, at most ``keep`` of them; 0 writes none. The data are visited once, in sequence:
    epochs and shuffling are already in the data's order.
    """
    return {
        "output_dir": str(work),
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "learning_rate": settings.learning_rate,
        "warmup_steps": warmup_steps(visits, settings),
        "weight_decay": settings.weight_decay,
        _checkpointing_argument(): settings.gradient_checkpointing,
        "bf16": uses_bfloat16(settings),
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        "seed": derive_seed(seed, "trainer") % 2**31,
        "save_strategy": "steps" if keep else "no",
        "save_steps": settings.checkpoint_steps,
        "save_total_limit": keep or None,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def step_size(settings: TrainerSettings) -> int:
    """Return how many items one optimizer step visits: over micro-batches and over the processes torchrun started."""
    return settings.batch_size * settings.gradient_accumulation * int(os.environ.get("WORLD_SIZE", "1"))


def planned_steps(items: int, settings: TrainerSettings) -> int:
    """Return how many optimizer steps a training on that many items takes if none of them is too long."""
    return math.ceil(visit_count(items, settings.epochs) / step_size(settings))


def warmup_steps(visits: int, settings: TrainerSettings) -> int:
    """Return how many optimizer steps the learning rate rises, rounded down: a short training has no warm-up.

    Under transformers' schedules the first step of a warm-up has no learning rate at all. Rounded up, as they do it, a
    training of one step would change nothing, and one of two steps would waste the half of its data.
    """
    return math.floor(settings.warmup_ratio * math.ceil(visits / step_size(settings)))


def uses_bfloat16(settings: TrainerSettings) -> bool:
    """Return whether to compute in bfloat16: by default on a GPU that has it, never on a CPU."""
    if settings.precision == "auto":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    return settings.precision == "bfloat16"


@contextmanager
def all_cores() -> Iterator[None]:
    """Let torch use every core this process may run on, unless OMP_NUM_THREADS says otherwise."""
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet_files() -> Iterator[None]:
    """Keep transformers from drawing a progress bar for each file it reads or writes."""
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()


def _checkpointing_argument() -> str:
    """Return transformers' name for it: newer releases warn about the old name, older ones know no other."""
    names = {field.name for field in fields(TrainingArguments)}
    return "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
