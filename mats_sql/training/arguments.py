"""The transformers arguments that both trainers share, and where they compute."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import torch
from transformers import TrainingArguments
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from mats_sql.config import TrainerSettings
from mats_sql.seeds import derive_seed
from mats_sql.threads import usable_cores
from mats_sql.training.sharing import ALONE, Group, prepare_sharding, sharding_arguments
from mats_sql.training.steps import share_of_step, warmup_steps

Arguments = TypeVar("Arguments", bound=TrainingArguments)


def trainer_arguments(
    settings: TrainerSettings,
    visits: int,
    *,
    work: Path,
    seed: int,
    keep: int,
    group: Group = ALONE,
) -> dict[str, object]:
    """Return keyword arguments for ``TrainingArguments`` and its subclasses, for a training of that many visits.

    They are those of each process of the ``group`` that shares every step.

    ``work`` receives the checkpoints, at most ``keep`` of them; 0 writes none. The data are visited once, in sequence:
    epochs and shuffling are already in the data's order.
    """
    at_a_time, times = share_of_step(settings, group.processes)
    return {
        "output_dir": str(work),
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": at_a_time,
        "per_device_eval_batch_size": at_a_time,
        "gradient_accumulation_steps": times,
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
        **(sharding_arguments() if group.sharded else {}),
    }


def uses_bfloat16(settings: TrainerSettings) -> bool:
    """Return whether to compute in bfloat16: by default on a GPU that has it, never on a CPU."""
    if settings.precision == "auto":
        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    return settings.precision == "bfloat16"


def held_dtype(settings: TrainerSettings) -> torch.dtype:
    """Return the number type of the weights while they are trained, or frozen beneath adapters.

    Trained weights are float32. Frozen ones take no updates, so where a GPU computes in bfloat16 anyway they are held
    in it too: half the memory, and no copy for the computation. Adapters are float32 above either.
    """
    if settings.lora.rank == 0 or settings.lora.frozen == "float32":
        return torch.float32
    if settings.lora.frozen == "bfloat16" or (torch.cuda.is_available() and uses_bfloat16(settings)):
        return torch.bfloat16
    return torch.float32


def placed(arguments: Arguments) -> Arguments:
    """Return the arguments with one card for this process, however many it sees, and its part of a sharded model.

    transformers would wrap the model in DataParallel, whose replicas run a forward that is bound to the first of them.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    if arguments.fsdp:
        prepare_sharding(arguments, half=arguments.bf16)
    return arguments


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
