"""The order in which training visits its data: a pure function of lengths, epochs, step size and seed.

The trainers read their data in sequence, so nothing else (workers, micro-batch size, a resume) can change it. Items of
one optimizer step have similar lengths, which keeps padding small; the steps themselves come in random order.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from mats_sql.seeds import derive_random

Item = TypeVar("Item")

STEPS_PER_WINDOW = 16
"""Lengths are sorted within this many steps: enough to remove most padding, few enough to keep steps random."""


def visiting_order(lengths: Sequence[int], *, epochs: float, step_size: int, seed: int) -> list[int]:
    """Return indices into ``lengths``, ``step_size`` per optimizer step (the last step may be shorter).

    Every whole epoch visits each index once; a fractional one visits a random part.
    """
    visits = _shuffled_visits(len(lengths), epochs, seed)
    window = step_size * STEPS_PER_WINDOW
    order: list[int] = []
    for start in range(0, len(visits), window):
        order += _grouped(visits[start : start + window], lengths, step_size, derive_random(seed, "window", start))
    return order


def filled(items: Sequence[Item], blank: Item, multiple: int) -> list[Item]:
    """Return the items, and after them as many blanks as make their number a multiple: nobody's share is shorter."""
    return [*items, *[blank] * (-len(items) % multiple)]


def visit_count(count: int, epochs: float) -> int:
    """Return how many visits ``count`` items get in all."""
    return max(1, round(epochs * count))


def _shuffled_visits(count: int, epochs: float, seed: int) -> list[int]:
    total = visit_count(count, epochs)
    visits: list[int] = []
    while len(visits) < total:
        epoch = list(range(count))
        derive_random(seed, "epoch", len(visits) // count).shuffle(epoch)
        visits += epoch
    return visits[:total]


def _grouped(visits: list[int], lengths: Sequence[int], step_size: int, chance: Random) -> list[int]:
    by_length = sorted(visits, key=lambda index: (-lengths[index], index))
    steps = [by_length[start : start + step_size] for start in range(0, len(by_length), step_size)]
    ragged = [steps.pop()] if len(steps[-1]) < step_size else []
    chance.shuffle(steps)
    return [index for step in steps + ragged for index in step]
