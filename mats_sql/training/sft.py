"""Supervised fine-tuning of one agent with TRL's SFTTrainer.

Covered: loss on the answer alone, full weights or LoRA, gradient accumulation and checkpointing, exact resume. Not
covered: multi-turn targets, packing (batches are grouped by length instead, which leaves little padding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from mats_sql.config import SftSettings
from mats_sql.errors import TrainingError
from mats_sql.seeds import derive_random, derive_seed
from mats_sql.teaching import SftExample
from mats_sql.training.arguments import all_cores, held_dtype, placed, quiet_files, trainer_arguments
from mats_sql.training.checkpoints import KEPT
from mats_sql.training.encoding import Encoded, blank, encode_answers
from mats_sql.training.lora import lora_config
from mats_sql.training.model_files import BaseModel, load_base
from mats_sql.training.order import filled, visiting_order
from mats_sql.training.report import OnMetrics, TrainingReport
from mats_sql.training.running import Training, Workplace, run_trainer, workplace, write_trained
from mats_sql.training.sharing import ALONE, Group
from mats_sql.training.steps import share_of_step, step_size
from mats_sql.training.token_logps import attach_scorer

IGNORED = -100
"""The label of a position that carries no loss."""


def train_sft(
    examples: Sequence[SftExample],
    *,
    base: Path,
    out: Path,
    settings: SftSettings,
    seed: int,
    on_metrics: OnMetrics,
    checkpoints: Path | None = None,
    group: Group = ALONE,
) -> TrainingReport:
    """Fine-tune ``base`` on ``examples`` and write a plain transformers checkpoint to ``out``.

    Where a launcher has started several processes, each calls this with their ``group`` and takes its part of every
    step. Over-long examples are dropped and listed, never cut. With ``checkpoints`` a killed run continues there and
    ends with the bytes of an uninterrupted one. Raises :class:`TrainingError` (no usable example, diverged) and
    :class:`ModelError`.
    """
    training = Training(base, out, seed, on_metrics, checkpoints, group)
    with all_cores(), quiet_files():
        return _train(_limited(examples, settings.max_examples, seed), settings, training)


def _train(examples: Sequence[SftExample], settings: SftSettings, training: Training) -> TrainingReport:
    base = load_base(training.base, held_dtype(settings))
    kept, dropped = _encode(examples, base, settings.max_tokens)
    order = visiting_order(
        [len(item.ids) for item in kept],
        epochs=settings.epochs,
        step_size=step_size(settings),
        seed=derive_seed(training.seed, "order"),
    )
    with workplace(training, settings, ((item.ids, item.answer_start) for item in kept)) as place:
        visits = [kept[index] for index in order]
        trainer = sft_trainer(base, visits, settings, place, training.seed, training.group)
        metrics = run_trainer(trainer, place, training.on_metrics)
        write_trained(trainer, training.out, base)
    return TrainingReport(metrics, dropped)


class _Trainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, with the loss computed at the answers alone and without a model card in every checkpoint.

    On a CPU TRL's own loss scores every position, prompt and padding too: a quarter of a small model's step. The value
    is the same.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """Return the mean NLL over the answer tokens of the whole optimizer step, shared out to its micro-batches."""
        targets = inputs["labels"][:, 1:]
        predicting = torch.nn.functional.pad(targets != IGNORED, (0, 1))  # the last position predicts nothing
        log_probs = model(
            input_ids=inputs["input_ids"],  # padding is on the right, where causal attention never looks
            scored_rows=predicting.flatten().nonzero()[:, 0],
            scored_tokens=targets[targets != IGNORED],
        )
        count = num_items_in_batch if num_items_in_batch is not None else len(log_probs)
        loss = -log_probs.sum() / count * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Write nothing: the lineage is in MLflow."""


def _limited(examples: Sequence[SftExample], limit: int | None, seed: int) -> list[SftExample]:
    chosen = list(examples)
    if limit is None or len(chosen) <= limit:
        return chosen
    derive_random(seed, "limit").shuffle(chosen)
    return chosen[:limit]


def _encode(examples: Sequence[SftExample], base: BaseModel, max_tokens: int) -> tuple[list[Encoded], tuple[str, ...]]:
    encoded = encode_answers(base.tokenizer, [(example.messages, example.answer) for example in examples])
    fits = [item.is_trainable(base.tokenizer.eos_token_id, max_tokens) for item in encoded]
    kept = [item for item, fit in zip(encoded, fits, strict=True) if fit]
    dropped = tuple(example.example_id for example, fit in zip(examples, fits, strict=True) if not fit)
    if not kept:
        raise TrainingError(
            f"SFT needs at least one example of at most {max_tokens} tokens, but got {len(examples)} examples of which "
            f"{len(dropped)} are too long; give examples or raise sft.max_tokens"
        )
    return kept, dropped


def sft_trainer(
    base: BaseModel,
    visits: Sequence[Encoded],
    settings: SftSettings,
    place: Workplace,
    seed: int,
    group: Group = ALONE,
) -> SFTTrainer:
    """Return the trainer that visits ``visits`` in their order."""
    keep = KEPT if place.checkpoints else 0
    arguments = trainer_arguments(settings, len(visits), work=place.folder, seed=seed, keep=keep, group=group)
    if group.processes > 1:
        at_a_time, _ = share_of_step(settings, group.processes)
        visits = filled(visits, blank(base.tokenizer.eos_token_id), at_a_time * group.processes)
    attach_scorer(base.model, settings.logit_rows)
    return _Trainer(
        model=base.model,
        args=placed(
            SFTConfig(
                **arguments,
                max_length=None,
                packing=False,
                shuffle_dataset=False,
                dataset_kwargs={"skip_prepare_dataset": True},
            )
        ),
        train_dataset=_dataset(visits),
        processing_class=base.tokenizer,
        peft_config=lora_config(settings.lora),
    )


def _dataset(visits: Sequence[Encoded]) -> Dataset:
    return Dataset.from_dict(
        {
            "input_ids": [list(item.ids) for item in visits],
            "labels": [[IGNORED] * item.answer_start + list(item.ids[item.answer_start :]) for item in visits],
        }
    )
