"""Run a trainer to its end: resume, report each step once, stop a diverged run, write the checkpoint."""

from __future__ import annotations

import gc
import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mats_sql.config import TrainerSettings
from mats_sql.digests import digest_json, digest_tree
from mats_sql.errors import TrainingError
from mats_sql.layers import begin_layer
from mats_sql.training.checkpoints import CheckpointFolder
from mats_sql.training.lora import write_adapter
from mats_sql.training.model_files import BaseModel, write_checkpoint
from mats_sql.training.report import OnMetrics
from mats_sql.training.sharing import ALONE, Group, gathered

_CLOCK_METRICS = ("runtime", "_per_second", "total_flos", "epoch", "step")
"""Log entries that depend on the machine or repeat what the step says; they are not reported."""


@dataclass(frozen=True, slots=True)
class Training:
    """What one training reads and writes, its seed, who hears of its steps, and who shares them."""

    base: Path
    out: Path
    seed: int
    on_metrics: OnMetrics
    checkpoints: Path | None
    group: Group = ALONE


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a trainer writes while it runs, and the checkpoints it may continue from (None: it writes none)."""

    folder: Path
    checkpoints: CheckpointFolder | None


@contextmanager
def workplace(training: Training, settings: TrainerSettings, data: Iterable[object]) -> Iterator[Workplace]:
    """Yield the training's checkpoint folder, emptied when all goes well, or a temporary one when it names none.

    A checkpoint of other settings, seed, base or ``data`` (JSON values, read only if needed) is not continued.
    """
    if training.checkpoints is not None:
        checkpoints = CheckpointFolder(training.checkpoints, _fingerprint(training, settings, data))
        yield Workplace(training.checkpoints, checkpoints)
        checkpoints.clear()
        return
    temporary = Path(tempfile.mkdtemp(prefix="mats-sql-"))
    try:
        yield Workplace(temporary, None)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def run_trainer(trainer: Trainer, place: Workplace, on_metrics: OnMetrics) -> dict[str, float]:
    """Train from the newest complete checkpoint or from the start; return the mean training loss over all steps.

    Raises :class:`TrainingError` when the loss or the gradient stops being finite.
    """
    newest = place.checkpoints.newest() if place.checkpoints else None
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_ReportSteps(on_metrics, resumed=newest is not None))
    if place.checkpoints:
        trainer.add_callback(_MarkComplete(place.checkpoints))
    with _settled():
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"train_loss": math.fsum(losses) / len(losses), "train_steps": float(trainer.state.global_step)}


def write_trained(trainer: Trainer, out: Path, base: BaseModel) -> None:
    """Write the trained model and its tokenizer to ``out`` as safetensors, atomically: a LoRA training's as one layer
    more on its base.

    Among several processes the first one writes, and the others wait for it.
    """
    model = gathered(trainer, base) if trainer.is_fsdp_enabled else trainer.accelerator.unwrap_model(trainer.model)

    def write(draft: Path) -> None:
        if isinstance(model, PeftModel):
            write_adapter(model, begin_layer(draft, base.folder), base.file_dtype)
            return
        model.to(base.file_dtype)
        model.config.use_cache = base.use_cache
        model.save_pretrained(draft)
        base.tokenizer.save_pretrained(draft)

    if trainer.accelerator.is_main_process:
        write_checkpoint(out, write)
    trainer.accelerator.wait_for_everyone()


@contextmanager
def _settled() -> Iterator[None]:
    """Spare the garbage collector what is there by now: accelerate starts it, and walking all loaded code takes half a
    second, as long as twenty steps of a small model.
    """
    if torch.cuda.is_initialized():
        gc.collect()  # what an earlier training left on the GPU must not be spared
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _fingerprint(training: Training, settings: TrainerSettings, data: Iterable[object]) -> str:
    """Digest everything that decides a training's result, apart from the code."""
    weights = digest_tree(training.base) if training.base.exists() else str(training.base)
    group = training.group
    shared = [] if group == ALONE else [group.processes, *(["sharded"] if group.sharded else [])]
    return digest_json([settings.model_dump(mode="json"), training.seed, weights, list(data), *shared])


class _ReportSteps(TrainerCallback):  # type: ignore[misc]
    """Pass on each step's metrics; after a resume, first those that the checkpoint remembers."""

    def __init__(self, on_metrics: OnMetrics, *, resumed: bool) -> None:
        self._on_metrics = on_metrics
        self._resumed = resumed

    def on_train_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: object
    ) -> None:
        if self._resumed:
            for entry in state.log_history:
                self._report(state, entry["step"], entry)

    def on_log(
        self,
        _args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        logs: Mapping[str, float],
        **_: object,
    ) -> None:
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise TrainingError(
                    f"a training's {name} must stay finite, but it is {logs[name]} at step {state.global_step}; "
                    "lower the learning rate"
                )
        self._report(state, state.global_step, logs)

    def _report(self, state: TrainerState, step: int, logs: Mapping[str, float]) -> None:
        metrics = {name: float(value) for name, value in logs.items() if not _is_clock(name)}
        if state.is_world_process_zero and metrics and "train_loss" not in metrics:
            self._on_metrics(step, metrics)


class _MarkComplete(TrainerCallback):  # type: ignore[misc]
    """Declare a checkpoint complete after its last file is written."""

    def __init__(self, checkpoints: CheckpointFolder) -> None:
        self._checkpoints = checkpoints

    def on_save(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: object) -> None:
        if state.is_world_process_zero:
            self._checkpoints.mark_complete(state.global_step)


def _is_clock(name: str) -> bool:
    return name in _CLOCK_METRICS or name.endswith(_CLOCK_METRICS[:2])
