"""What a training run returns besides its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

OnMetrics = Callable[[int, Mapping[str, float]], None]
"""Receives (optimizer step, metrics) in step order, each step once, also after a resume."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """Final metrics, and the ids of the examples or pairs that were too long to train on."""

    metrics: Mapping[str, float]
    dropped: tuple[str, ...]
