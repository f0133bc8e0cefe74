"""How many optimizer steps a training takes, and how processes share each of them: arithmetic, without torch."""

from __future__ import annotations

import math

from mats_sql.config import TrainerSettings
from mats_sql.training.order import visit_count


def step_size(settings: TrainerSettings) -> int:
    """Return how many items one optimizer step visits, however many processes share it."""
    return settings.batch_size * settings.gradient_accumulation


def share_of_step(settings: TrainerSettings, processes: int) -> tuple[int, int]:
    """Return (items at a time, times) of one of the processes that share a step: together they visit the whole step.

    As many at a time as divide its share, at most ``batch_size``. The step must be a multiple of the processes.
    """
    share = step_size(settings) // processes
    at_a_time = next(count for count in range(min(settings.batch_size, share), 0, -1) if share % count == 0)
    return at_a_time, share // at_a_time


def planned_steps(items: int, settings: TrainerSettings) -> int:
    """Return how many optimizer steps a training on that many items takes if none of them is too long."""
    return math.ceil(visit_count(items, settings.epochs) / step_size(settings))


def warmup_steps(visits: int, settings: TrainerSettings) -> int:
    """Return how many optimizer steps the learning rate rises, rounded down: a short training has no warm-up.

    Under transformers' schedules the first step of a warm-up has no learning rate at all. Rounded up, as they do it, a
    training of one step would change nothing, and one of two steps would waste the half of its data.
    """
    return math.floor(settings.warmup_ratio * math.ceil(visits / step_size(settings)))
