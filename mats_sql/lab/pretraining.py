"""Make the lab's base model: a small Llama (Touvron et al. 2023) that learns to copy, then every agent's task.

Copying comes first: on a random token sequence followed by itself, with the loss on the second half, attention forms
induction heads (Olsson et al. 2022). Without them a model this small learns the formats but not which names to write.

Training is data parallel over single-threaded processes: matrices this small gain little from two threads, and nothing
at all on a machine that does other work too.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import distributed, multiprocessing
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


@dataclass(frozen=True, slots=True)
class PretrainReport:
    """``copy_loss`` and ``loss`` are means over the last logged steps, in nats per answer token."""

    copy_loss: float
    loss: float
    parameters: int
    steps: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """``ids`` and ``labels`` of shape (sequences, tokens); a label is the id at its own place, or ignored."""

    ids: torch.Tensor
    labels: torch.Tensor


def pretrain(out: Path, settings: PretrainSettings, on_metrics: OnMetrics | None = None) -> PretrainReport:
    """Train a base model from nothing and save it, with its tokenizer, in the folder ``out``.

    Loads with ``AutoModelForCausalLM`` and ``AutoTokenizer``. Equal settings and library versions give equal weights.
    Starts ``settings.processes - 1`` further processes, which end with it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    tokenizer = train_tokenizer(corpus(settings.seed), settings.vocabulary)
    try:
        with tempfile.TemporaryDirectory() as folder:
            arguments = (tokenizer.to_str(), settings, Path(folder) / "meeting")
            helpers = multiprocessing.get_context("spawn")
            others = [helpers.Process(target=_help, args=(rank, *arguments)) for rank in range(1, settings.processes)]
            for process in others:
                process.start()
            try:
                model, report = _train(0, *arguments, on_metrics)
            finally:
                for process in others:
                    process.join(timeout=60)
                    process.kill()
    finally:
        torch.set_num_threads(before)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    as_pretrained(tokenizer, settings.context_tokens).save_pretrained(out)
    return report


def step_count(settings: PretrainSettings) -> int:
    """Return how many optimizer steps a pretraining takes."""
    return settings.copy_steps + _task_steps(settings)


def _help(rank: int, tokenizer: str, settings: PretrainSettings, meeting: Path) -> None:
    """Be one of the further processes."""
    torch.set_num_threads(1)
    _train(rank, tokenizer, settings, meeting, None)


def _train(
    rank: int, tokenizer_text: str, settings: PretrainSettings, meeting: Path, on_metrics: OnMetrics | None
) -> tuple[LlamaForCausalLM, PretrainReport]:
    """Train as process ``rank``; every process ends with the same weights."""
    tokenizer = Tokenizer.from_str(tokenizer_text)
    torch.manual_seed(derive_seed(settings.seed, "lab", "weights"))
    model = LlamaForCausalLM(_architecture(settings, tokenizer)).train()
    together = settings.processes > 1
    if together:
        distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=settings.processes)
    try:
        report = _run_steps(model, _batches(rank, tokenizer, settings), settings, on_metrics)
    finally:
        if together:
            distributed.destroy_process_group()
    return model, report


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
    model: LlamaForCausalLM, batches: Iterator[_Batch], settings: PretrainSettings, on_metrics: OnMetrics | None
) -> PretrainReport:
    steps = step_count(settings)
    optimizer = _optimizer(model, settings)
    recent: list[float] = []
    losses = {"copy_loss": float("nan"), "loss": float("nan")}
    for step, batch in enumerate(batches, 1):
        rate = settings.learning_rate * _schedule(step, settings, steps)
        recent.append(_step(model, optimizer, batch, rate))
        if step % _LOG_EVERY == 0 or step in (settings.copy_steps, steps):
            name = "copy_loss" if step <= settings.copy_steps else "loss"
            losses[name], recent = sum(recent) / len(recent), []
            if on_metrics is not None:
                on_metrics(step, {name: losses[name], "learning_rate": rate})
    parameters = sum(weight.numel() for weight in model.parameters())
    return PretrainReport(losses["copy_loss"], losses["loss"], parameters, steps)


def _optimizer(model: LlamaForCausalLM, settings: PretrainSettings) -> torch.optim.Optimizer:
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() <= 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def _task_steps(settings: PretrainSettings) -> int:
    return math.ceil(settings.examples / (settings.batch_size * settings.processes))


def _step(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, batch: _Batch, rate: float) -> float:
    """Take one step. Logits are computed at answer places only: they are a quarter of all places."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    hidden = model.model(batch.ids[:, :-1], use_cache=False).last_hidden_state
    targets = batch.labels[:, 1:]
    kept = targets != _IGNORED
    loss = functional.cross_entropy(model.lm_head(hidden[kept]), targets[kept])
    loss.backward()
    _average_gradients(model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def _average_gradients(model: LlamaForCausalLM) -> None:
    if not distributed.is_initialized():
        return
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


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
