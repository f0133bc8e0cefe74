"""Preference training of one agent with ORPO (MATS.md, section 5).

Covered: pairs under one prompt or two, full weights or LoRA, shared prefixes, packing, gradient accumulation and
checkpointing, several processes, exact resume. Not covered: encoder-decoder models, heads that rescale their logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import TrainingArguments

from mats_sql.config import OrpoSettings
from mats_sql.errors import TrainingError
from mats_sql.preference import PreferencePair
from mats_sql.seeds import derive_seed
from mats_sql.training.arguments import all_cores, held_dtype, placed, quiet_files, trainer_arguments
from mats_sql.training.branched_attention import attend_in_branches, can_branch
from mats_sql.training.checkpoints import KEPT
from mats_sql.training.encoding import blank, encode_answers
from mats_sql.training.lora import adapt
from mats_sql.training.model_files import BaseModel, load_base
from mats_sql.training.order import filled, visiting_order
from mats_sql.training.orpo_batch import EncodedPair, OrpoCollator
from mats_sql.training.orpo_trainer import OrpoTrainer, PairDataset
from mats_sql.training.report import OnMetrics, TrainingReport
from mats_sql.training.running import Training, Workplace, run_trainer, workplace, write_trained
from mats_sql.training.sharing import ALONE, Group
from mats_sql.training.steps import share_of_step, step_size
from mats_sql.training.token_logps import attach_scorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def train_orpo(
    pairs: Sequence[PreferencePair],
    evaluation: Sequence[PreferencePair],
    *,
    base: Path,
    out: Path,
    settings: OrpoSettings,
    seed: int,
    on_metrics: OnMetrics,
    checkpoints: Path | None = None,
    group: Group = ALONE,
) -> TrainingReport:
    """Train ``base`` on ``pairs``, evaluate it on ``evaluation`` (may be empty), write a plain checkpoint to ``out``.

    Where a launcher has started several processes, each calls this with their ``group`` and takes its part of every
    step. A pair with an over-long side is dropped whole and listed. With ``checkpoints`` a killed run continues there
    and ends with the bytes of an uninterrupted one. Raises :class:`TrainingError` (no usable pair, diverged) and
    :class:`ModelError`.
    """
    with all_cores(), quiet_files():
        loaded = load_base(base, held_dtype(settings))
        kept, dropped = encode_pairs(loaded.tokenizer, pairs, settings.max_tokens)
        held_out, held_out_dropped = encode_pairs(loaded.tokenizer, evaluation, settings.max_tokens)
        if not kept:
            raise TrainingError(
                f"ORPO needs at least one pair of at most {settings.max_tokens} tokens, but got {len(pairs)} pairs of "
                f"which {len(dropped)} are too long; give pairs or raise orpo.max_tokens"
            )
        training = Training(base, out, seed, on_metrics, checkpoints, group)
        metrics = _train(loaded, kept, held_out, settings, training)
    return TrainingReport(metrics, dropped + held_out_dropped)


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair], max_tokens: int
) -> tuple[list[EncodedPair], tuple[str, ...]]:
    """Return the pairs whose both sides are trainable, as ids, and the names of the others."""
    chosen = encode_answers(tokenizer, [(pair.chosen_prompt, pair.chosen) for pair in pairs])
    rejected = encode_answers(tokenizer, [(pair.rejected_prompt, pair.rejected) for pair in pairs])
    kept, dropped = [], []
    for pair, *sides in zip(pairs, chosen, rejected, strict=True):
        if all(side.is_trainable(tokenizer.eos_token_id, max_tokens) for side in sides):
            kept.append(EncodedPair(*sides))
        else:
            dropped.append(pair.pair_id)
    return kept, tuple(dropped)


def _train(
    base: BaseModel,
    pairs: Sequence[EncodedPair],
    held_out: Sequence[EncodedPair],
    settings: OrpoSettings,
    training: Training,
) -> dict[str, float]:
    order = visiting_order(
        [pair.tokens for pair in pairs],
        epochs=settings.epochs,
        step_size=step_size(settings),
        seed=derive_seed(training.seed, "order"),
    )
    with workplace(training, settings, ([asdict(pair) for pair in part] for part in (pairs, held_out))) as place:
        visits = [pairs[index] for index in order]
        trainer = orpo_trainer(base, visits, held_out, settings, place, training.seed, training.group)
        metrics = run_trainer(trainer, place, training.on_metrics)
        if held_out:
            metrics |= trainer.final_evaluation()
        write_trained(trainer, training.out, base)
    return metrics


def orpo_trainer(
    base: BaseModel,
    visits: Sequence[EncodedPair],
    held_out: Sequence[EncodedPair],
    settings: OrpoSettings,
    place: Workplace,
    seed: int,
    group: Group = ALONE,
) -> OrpoTrainer:
    """Return the trainer that visits ``visits`` in their order.

    Models with sliding windows or recurrences compute each sequence by itself, whatever the settings ask for.
    """
    keep = KEPT if place.checkpoints else 0
    arguments = trainer_arguments(settings, len(visits), work=place.folder, seed=seed, keep=keep, group=group)
    if group.processes > 1:
        nothing, (at_a_time, _) = blank(base.tokenizer.eos_token_id), share_of_step(settings, group.processes)
        empty = EncodedPair(nothing, nothing)
        visits, held_out = (filled(part, empty, at_a_time * group.processes) for part in (visits, held_out))
    attach_scorer(base.model, settings.logit_rows)
    branches = can_branch(base.model)
    if branches:
        attend_in_branches(base.model)
    return OrpoTrainer(
        beta=settings.beta,
        model=adapt(base.model, settings.lora, seed=derive_seed(seed, "lora")),
        args=placed(
            TrainingArguments(
                **arguments,
                remove_unused_columns=False,
                eval_strategy="steps" if held_out and settings.eval_steps else "no",
                eval_steps=settings.eval_steps,
            )
        ),
        data_collator=OrpoCollator(
            settings.nll,
            prefix_sharing=settings.prefix_sharing and branches,
            packing=settings.packing and branches,
            pad_id=base.tokenizer.pad_token_id,
        ),
        train_dataset=PairDataset(visits),
        eval_dataset=PairDataset(held_out),
    )
