"""What one pretraining process trains on, batch by batch, and where in it a stopped training goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from tokenizers import Tokenizer

from mats_sql.config import PretrainSettings
from mats_sql.lab.examples import REVIEWS, TASKS, Course
from mats_sql.lab.shards import TokenizedExample, token_shards
from mats_sql.lab.tokenizer import PAD
from mats_sql.seeds import derive_random, derive_seed

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """``ids`` and ``labels`` of shape (sequences, tokens); a label is the id at its own place, or ignored."""

    ids: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, slots=True)
class Place:
    """The next batch of a course: the process's shard, counted from 0, and the batch in it."""

    shard: int = 0
    batch: int = 0


def task_steps(settings: PretrainSettings) -> int:
    """Return how many steps the agents' tasks take."""
    return math.ceil(settings.examples / (settings.batch_size * settings.processes))


def review_steps(settings: PretrainSettings) -> int:
    """Return how many steps the reviews after them take."""
    return math.ceil(settings.review_examples / (settings.batch_size * settings.processes))


def batches(
    rank: int, tokenizer: Tokenizer, settings: PretrainSettings, done: int, place: Place
) -> Iterator[tuple[Batch, Place]]:
    """Yield one process's batches after the first ``done``, each with the place after it; processes have equally many.

    Copying has no place of its own: its batches are drawn again up to where it stopped.
    """
    for batch in islice(_copy_batches(rank, tokenizer, settings), min(done, settings.copy_steps), None):
        yield batch, place
    begins = settings.copy_steps
    for course, steps in ((TASKS, task_steps(settings)), (REVIEWS, review_steps(settings))):
        finished = min(max(0, done - begins), steps)
        found = _course_batches(rank, tokenizer, settings, course, place if finished else Place())
        yield from islice(found, steps - finished)
        begins += steps


def _copy_batches(rank: int, tokenizer: Tokenizer, settings: PretrainSettings) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "lab", "copy", rank))
    size = tokenizer.get_vocab_size()
    for _ in range(settings.copy_steps):
        half = torch.randint(size, (settings.batch_size, settings.copy_tokens), generator=generator)
        ignored = torch.full_like(half, IGNORED)
        yield Batch(torch.cat([half, half], 1), torch.cat([ignored, half], 1))


def _course_batches(
    rank: int, tokenizer: Tokenizer, settings: PretrainSettings, course: Course, place: Place
) -> Iterator[tuple[Batch, Place]]:
    padding, first = int(tokenizer.token_to_id(PAD) or 0), rank + place.shard * settings.processes
    shards = token_shards(tokenizer, settings.seed, course, first, settings.processes)
    for number, shard in enumerate(shards, place.shard):
        fitting = [example for example in shard if len(example.ids) <= settings.context_tokens]
        ordered = _batches_of_like_length(fitting, settings.batch_size)
        # The same order in every process: batches that meet in a step are of like length, so none waits for long.
        derive_random(settings.seed, "lab", "order", number).shuffle(ordered)
        begin = place.batch if number == place.shard else 0
        for position in range(begin, len(ordered)):
            yield _collate(ordered[position], padding), Place(number, position + 1)


def _batches_of_like_length(examples: list[TokenizedExample], size: int) -> list[list[TokenizedExample]]:
    ordered = sorted(examples, key=lambda example: len(example.ids))
    return [ordered[start : start + size] for start in range(0, len(ordered) - size + 1, size)]


def _collate(examples: list[TokenizedExample], padding: int) -> Batch:
    """Pad on the right: under a causal mask no real token sees the padding, so no attention mask is needed."""
    longest = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), longest), padding)
    labels = torch.full((len(examples), longest), IGNORED)
    for row, example in enumerate(examples):
        end = len(example.ids)
        ids[row, :end] = torch.tensor(example.ids)
        labels[row, example.prompt_tokens : end] = torch.tensor(example.ids[example.prompt_tokens :])
    return Batch(ids, labels)
