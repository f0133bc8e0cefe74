"""Make the lab's base model: a small Llama (Touvron et al. 2023) that learns to copy, then every agent's task, then
more of what a second look needs.

Copying comes first: on a random token sequence followed by itself, with the loss on the second half, attention forms
induction heads (Olsson et al. 2022). Without them a model this small learns the formats but not which names to write.

Training is data parallel over single-threaded processes, with accelerate on the CPU: matrices this small gain little
from two threads, and nothing at all on a machine that does other work too. Stopped at any time, the same call goes on
from its last checkpoint and ends with the same weights.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from tokenizers import Tokenizer
from torch import multiprocessing
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from mats_sql.config import PretrainSettings
from mats_sql.errors import ModelError
from mats_sql.lab.pretraining_batches import IGNORED, Batch, batches, review_steps, task_steps
from mats_sql.lab.pretraining_state import read_state, read_tokenizer, snapshot_folder, write_state
from mats_sql.lab.shards import corpus
from mats_sql.lab.tokenizer import END, PAD, as_pretrained, train_tokenizer
from mats_sql.seeds import derive_seed

OnMetrics = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its metrics."""

_START = "forkserver"
"""A server imports this module once, for all processes of all trainings: importing takes as long as thirty steps."""
_LOG_EVERY = 25
_PASS_ON_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class PretrainReport:
    """``copy_loss`` and ``loss`` are means over the last logged steps, in nats per answer token."""

    copy_loss: float
    loss: float
    parameters: int
    steps: int


@dataclass(frozen=True, slots=True)
class _Logged:
    """What the first process tells the caller's process."""

    step: int
    metrics: dict[str, float]


def pretrain(
    out: Path,
    settings: PretrainSettings,
    on_metrics: OnMetrics | None = None,
    state: Path | None = None,
    start: Path | None = None,
) -> PretrainReport:
    """Train a base model and save it, with its tokenizer, in the folder ``out``: from nothing, or on from ``start``'s.

    Loads with ``AutoModelForCausalLM`` and ``AutoTokenizer``. Equal settings and library versions give equal weights.
    Trains in ``settings.processes`` further processes, which end with it; ``on_metrics`` is called in this one.
    ``state`` is a folder of this training alone: checkpoints to go on from, and snapshots of the model along the way.
    Raises :class:`ModelError` when ``start`` is no base model of the lab's kind.
    """
    if start is not None:
        _check_start(start)
    with tempfile.TemporaryDirectory() as temporary:
        kept = Path(temporary) / "state" if state is None else state
        tokenizer = read_tokenizer(kept, lambda: _tokenizer(settings, start))
        out.mkdir(parents=True, exist_ok=True)
        as_pretrained(tokenizer, settings.context_tokens).save_pretrained(out)
        folders = _Folders(Path(temporary) / "meeting", out, kept, start)
        losses = _train_in_processes(tokenizer, settings, folders, on_metrics)
    parameters = LlamaForCausalLM.from_pretrained(out).num_parameters()
    return PretrainReport(losses["copy_loss"], losses["loss"], parameters, step_count(settings))


@dataclass(frozen=True, slots=True)
class _Folders:
    """Where processes meet, the model is saved and the training's state kept; and the model it goes on from."""

    meeting: Path
    out: Path
    state: Path
    start: Path | None


def _check_start(start: Path) -> None:
    kind = json.loads((start / "config.json").read_text(encoding="utf-8")).get("model_type")
    path = start / "tokenizer.json"
    known = Tokenizer.from_file(str(path)).get_vocab() if path.is_file() else {}
    if kind != "llama" or not {END, PAD} <= known.keys():
        raise ModelError(
            f"pretrain.start must be a base model that pretrain made (Llama; a tokenizer with {END}, {PAD}), but got "
            f"{start}; give 'lab' or the model folder of a pretrain run"
        )


def _tokenizer(settings: PretrainSettings, start: Path | None) -> Tokenizer:
    if start is not None:
        return Tokenizer.from_file(str(start / "tokenizer.json"))
    return train_tokenizer(corpus(settings.seed), settings.vocabulary)


def step_count(settings: PretrainSettings) -> int:
    """Return how many optimizer steps a pretraining takes."""
    return settings.copy_steps + task_steps(settings) + review_steps(settings)


def _train_in_processes(
    tokenizer: Tokenizer,
    settings: PretrainSettings,
    folders: _Folders,
    on_metrics: OnMetrics | None,
) -> dict[str, float]:
    """Train in further processes, pass on what they log, and return the last losses."""
    context = multiprocessing.get_context(_START)
    context.set_forkserver_preload([__name__])
    logged: SimpleQueue[_Logged] = context.SimpleQueue()
    losses = {"copy_loss": float("nan"), "loss": float("nan")}

    def pass_on() -> None:
        while not logged.empty():
            told = logged.get()
            losses.update({name: value for name, value in told.metrics.items() if name in losses})
            if on_metrics is not None:
                on_metrics(told.step, told.metrics)

    arguments = (tokenizer.to_str(), settings, folders, logged)
    processes = multiprocessing.start_processes(
        _train, arguments, settings.processes, join=False, daemon=True, start_method=_START
    )
    try:
        while not processes.join(timeout=_PASS_ON_EVERY_S):
            pass_on()
    finally:
        for process in processes.processes:
            process.terminate()
    pass_on()
    return losses


def _train(
    rank: int,
    tokenizer_text: str,
    settings: PretrainSettings,
    folders: _Folders,
    logged: SimpleQueue[_Logged],
) -> None:
    """Train as process ``rank``; every process ends with the same weights, and the first saves them."""
    accelerator = _meet(rank, settings.processes, folders.meeting)
    tokenizer = Tokenizer.from_str(tokenizer_text)
    torch.manual_seed(derive_seed(settings.seed, "lab", "weights"))
    model = _model(settings, tokenizer, folders.start).train()
    on_metrics = (lambda step, metrics: logged.put(_Logged(step, dict(metrics)))) if rank == 0 else None
    _run_steps(accelerator, _AnswerLoss(model), tokenizer, settings, folders.state, on_metrics)
    if rank == 0:
        model.save_pretrained(folders.out)
    accelerator.end_training()


def _meet(rank: int, processes: int, meeting: Path) -> Accelerator:
    """Join the other processes over a file, so that no port is needed; the environment is this process's own."""
    torch.set_num_threads(1)
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    sizes = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    os.environ |= ranks | sizes | {"OMP_NUM_THREADS": "1"}
    return Accelerator(
        cpu=True,
        mixed_precision="no",
        kwargs_handlers=[InitProcessGroupKwargs(backend="gloo", init_method=meeting.as_uri())],
    )


class _AnswerLoss(torch.nn.Module):  # type: ignore[misc]  # torch is untyped to mypy
    """A model's mean loss at the answer places; logits are computed there only: they are a quarter of all places."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        hidden = self.model.model(ids[:, :-1], use_cache=False).last_hidden_state
        targets = labels[:, 1:]
        kept = targets != IGNORED
        return functional.cross_entropy(self.model.lm_head(hidden[kept]), targets[kept])


def _model(settings: PretrainSettings, tokenizer: Tokenizer, start: Path | None) -> LlamaForCausalLM:
    if start is not None:
        disable_progress_bar()  # a bar per loaded file says nothing: stages show what runs
        return LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    return LlamaForCausalLM(_architecture(settings, tokenizer))


def _architecture(settings: PretrainSettings, tokenizer: Tokenizer) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=settings.width,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=settings.context_tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
    )


def _run_steps(
    accelerator: Accelerator,
    loss_of: _AnswerLoss,
    tokenizer: Tokenizer,
    settings: PretrainSettings,
    state: Path,
    on_metrics: OnMetrics | None,
) -> None:
    """Go on from the last checkpoint, or begin; log, keep snapshots and write checkpoints on the way."""
    rank, steps, model = accelerator.process_index, step_count(settings), loss_of.model
    optimizer = _optimizer(loss_of, settings)
    begun = read_state(state, rank, model, optimizer)
    loss_of, optimizer = accelerator.prepare(loss_of, optimizer)
    recent = list(begun.recent)
    for step, (batch, place) in enumerate(batches(rank, tokenizer, settings, begun.step, begun.place), begun.step + 1):
        if step == settings.copy_steps + task_steps(settings) + 1:
            optimizer.state.clear()  # reviews begin with another rate: the moments of the last steps would be too large
        rate = _rate(step, settings)
        recent.append(_step(accelerator, loss_of, optimizer, batch, rate))
        _end_with_the_caller()
        if step % _LOG_EVERY == 0 or step in (settings.copy_steps, steps):
            name = "copy_loss" if step <= settings.copy_steps else "loss"
            if on_metrics is not None:
                on_metrics(step, {name: sum(recent) / len(recent), "learning_rate": rate})
            recent = []
        if rank == 0 and _is_snapshot(step, settings):
            _save_snapshot(model, tokenizer, settings, snapshot_folder(state, _examples_seen(step, settings)))
        if step % settings.checkpoint_steps == 0 and step < steps:
            write_state(accelerator, state, step, place, recent, model, optimizer)


def _end_with_the_caller() -> None:
    """End this process when the one that started it was killed: nobody would take the model."""
    caller = multiprocessing.parent_process()
    if caller is not None and not caller.is_alive():
        raise SystemExit(1)


def _examples_seen(step: int, settings: PretrainSettings) -> int:
    return max(0, step - settings.copy_steps) * settings.batch_size * settings.processes


def _is_snapshot(step: int, settings: PretrainSettings) -> bool:
    """Whether a multiple of ``snapshot_examples`` was reached with this step."""
    every = settings.snapshot_examples
    return _examples_seen(step, settings) // every > _examples_seen(step - 1, settings) // every


def _save_snapshot(model: LlamaForCausalLM, tokenizer: Tokenizer, settings: PretrainSettings, folder: Path) -> None:
    as_pretrained(tokenizer, settings.context_tokens).save_pretrained(folder)
    model.save_pretrained(folder)


def _optimizer(model: torch.nn.Module, settings: PretrainSettings) -> torch.optim.Optimizer:
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def _step(
    accelerator: Accelerator,
    loss_of: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rate: float,
) -> float:
    """Take one step with the mean of all processes' gradients, and return this process's loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss: torch.Tensor = loss_of(batch.ids, batch.labels)
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(loss_of.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def _rate(step: int, settings: PretrainSettings) -> float:
    """Return the learning rate: it rises, is constant while copying, then follows a cosine per course."""
    tasks, step_of_tasks = task_steps(settings), step - settings.copy_steps
    if step_of_tasks <= tasks:
        warm = min(1.0, step / max(1, settings.warmup_steps))
        return settings.learning_rate * warm * (_cosine(step_of_tasks / max(1, tasks)) if step_of_tasks > 0 else 1.0)
    own = step_of_tasks - tasks
    warm = min(1.0, own / max(1, settings.warmup_steps))
    return settings.review_learning_rate * warm * _cosine(own / review_steps(settings))


def _cosine(done: float) -> float:
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
