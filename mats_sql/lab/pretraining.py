"""Make the lab's base model: a small Llama (Touvron et al. 2023) that learns to copy, then every agent's task.

Copying comes first: on a random token sequence followed by itself, with the loss on the second half, attention forms
induction heads (Olsson et al. 2022). Without them a model this small learns the formats but not which names to write.

Training is data parallel over single-threaded processes, with accelerate on the CPU: matrices this small gain little
from two threads, and nothing at all on a machine that does other work too.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from tokenizers import Tokenizer
from torch import multiprocessing
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from mats_sql.config import PretrainSettings
from mats_sql.lab.shards import TokenizedExample, corpus, token_shards
from mats_sql.lab.tokenizer import END, PAD, as_pretrained, train_tokenizer
from mats_sql.seeds import derive_random, derive_seed

OnMetrics = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its metrics."""

_IGNORED = -100
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


@dataclass(frozen=True, slots=True)
class _Batch:
    """``ids`` and ``labels`` of shape (sequences, tokens); a label is the id at its own place, or ignored."""

    ids: torch.Tensor
    labels: torch.Tensor


def pretrain(out: Path, settings: PretrainSettings, on_metrics: OnMetrics | None = None) -> PretrainReport:
    """Train a base model from nothing and save it, with its tokenizer, in the folder ``out``.

    Loads with ``AutoModelForCausalLM`` and ``AutoTokenizer``. Equal settings and library versions give equal weights.
    Trains in ``settings.processes`` further processes, which end with it; ``on_metrics`` is called in this one.
    """
    tokenizer = train_tokenizer(corpus(settings.seed), settings.vocabulary)
    out.mkdir(parents=True, exist_ok=True)
    as_pretrained(tokenizer, settings.context_tokens).save_pretrained(out)
    logged: SimpleQueue[_Logged] = multiprocessing.get_context("spawn").SimpleQueue()
    losses = {"copy_loss": float("nan"), "loss": float("nan")}

    def pass_on() -> None:
        while not logged.empty():
            told = logged.get()
            losses.update({name: value for name, value in told.metrics.items() if name in losses})
            if on_metrics is not None:
                on_metrics(told.step, told.metrics)

    with tempfile.TemporaryDirectory() as folder:
        arguments = (tokenizer.to_str(), settings, Path(folder) / "meeting", out, logged)
        processes = multiprocessing.start_processes(
            _train, arguments, settings.processes, join=False, daemon=True, start_method="spawn"
        )
        while not processes.join(timeout=_PASS_ON_EVERY_S):
            pass_on()
    pass_on()
    parameters = LlamaForCausalLM.from_pretrained(out).num_parameters()
    return PretrainReport(losses["copy_loss"], losses["loss"], parameters, step_count(settings))


def step_count(settings: PretrainSettings) -> int:
    """Return how many optimizer steps a pretraining takes."""
    return settings.copy_steps + _task_steps(settings)


def _train(
    rank: int, tokenizer_text: str, settings: PretrainSettings, meeting: Path, out: Path, logged: SimpleQueue[_Logged]
) -> None:
    """Train as process ``rank``; every process ends with the same weights, and the first saves them."""
    accelerator = _meet(rank, settings.processes, meeting)
    tokenizer = Tokenizer.from_str(tokenizer_text)
    torch.manual_seed(derive_seed(settings.seed, "lab", "weights"))
    model = LlamaForCausalLM(_architecture(settings, tokenizer)).train()
    on_metrics = (lambda step, metrics: logged.put(_Logged(step, dict(metrics)))) if rank == 0 else None
    _run_steps(accelerator, _AnswerLoss(model), _batches(rank, tokenizer, settings), settings, on_metrics)
    if rank == 0:
        model.save_pretrained(out)
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
        kept = targets != _IGNORED
        return functional.cross_entropy(self.model.lm_head(hidden[kept]), targets[kept])


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
    batches: Iterator[_Batch],
    settings: PretrainSettings,
    on_metrics: OnMetrics | None,
) -> None:
    steps = step_count(settings)
    loss_of, optimizer = accelerator.prepare(loss_of, _optimizer(loss_of, settings))
    recent: list[float] = []
    for step, batch in enumerate(batches, 1):
        rate = settings.learning_rate * _schedule(step, settings, steps)
        recent.append(_step(accelerator, loss_of, optimizer, batch, rate))
        if step % _LOG_EVERY == 0 or step in (settings.copy_steps, steps):
            name = "copy_loss" if step <= settings.copy_steps else "loss"
            if on_metrics is not None:
                on_metrics(step, {name: sum(recent) / len(recent), "learning_rate": rate})
            recent = []


def _optimizer(model: torch.nn.Module, settings: PretrainSettings) -> torch.optim.Optimizer:
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def _task_steps(settings: PretrainSettings) -> int:
    return math.ceil(settings.examples / (settings.batch_size * settings.processes))


def _step(
    accelerator: Accelerator,
    loss_of: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: _Batch,
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


def _schedule(step: int, settings: PretrainSettings, steps: int) -> float:
    """Return the share of the learning rate: constant while copying, then a cosine down to a twentieth."""
    warm = min(1.0, step / max(1, settings.warmup_steps))
    if step <= settings.copy_steps:
        return warm
    done = (step - settings.copy_steps) / max(1, steps - settings.copy_steps)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def _batches(rank: int, tokenizer: Tokenizer, settings: PretrainSettings) -> Iterator[_Batch]:
    """Yield one process's batches: every process has equally many."""
    tasks = islice(_task_batches(rank, tokenizer, settings), _task_steps(settings))
    return chain(_copy_batches(rank, tokenizer, settings), tasks)


def _copy_batches(rank: int, tokenizer: Tokenizer, settings: PretrainSettings) -> Iterator[_Batch]:
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "lab", "copy", rank))
    size = tokenizer.get_vocab_size()
    for _ in range(settings.copy_steps):
        half = torch.randint(size, (settings.batch_size, settings.copy_tokens), generator=generator)
        ignored = torch.full_like(half, _IGNORED)
        yield _Batch(torch.cat([half, half], 1), torch.cat([ignored, half], 1))


def _task_batches(rank: int, tokenizer: Tokenizer, settings: PretrainSettings) -> Iterator[_Batch]:
    padding = tokenizer.token_to_id(PAD)
    for number, shard in enumerate(token_shards(tokenizer, settings.seed, rank, settings.processes)):
        fitting = [example for example in shard if len(example.ids) <= settings.context_tokens]
        batches = _batches_of_like_length(fitting, settings.batch_size)
        # The same order in every process: batches that meet in a step are of like length, so none waits for long.
        derive_random(settings.seed, "lab", "order", number).shuffle(batches)
        yield from (_collate(batch, int(padding or 0)) for batch in batches)


def _batches_of_like_length(examples: list[TokenizedExample], size: int) -> list[list[TokenizedExample]]:
    ordered = sorted(examples, key=lambda example: len(example.ids))
    return [ordered[start : start + size] for start in range(0, len(ordered) - size + 1, size)]


def _collate(examples: list[TokenizedExample], padding: int) -> _Batch:
    """Pad on the right: under a causal mask no real token sees the padding, so no attention mask is needed."""
    longest = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), longest), padding)
    labels = torch.full((len(examples), longest), _IGNORED)
    for row, example in enumerate(examples):
        end = len(example.ids)
        ids[row, :end] = torch.tensor(example.ids)
        labels[row, example.prompt_tokens : end] = torch.tensor(example.ids[example.prompt_tokens :])
    return _Batch(ids, labels)
