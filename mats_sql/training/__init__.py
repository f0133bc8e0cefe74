"""Turn examples and preference pairs into checkpoints: full weights, or an adapter on the base's layers.

``sft.train_sft`` drives TRL's SFTTrainer; ``orpo.train_orpo`` drives our own ORPO trainer (MATS.md, section 5), which
computes a pair's shared prompt once. Both drop over-long data instead of truncating it, depend on the seed alone, and
continue from the newest complete checkpoint. ``separate.train`` does either, in this process or in one of its own.
docs/training.md defines the loss and its denominators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.training.jobs import TrainingJob
    from mats_sql.training.orpo import train_orpo
    from mats_sql.training.separate import train
    from mats_sql.training.sft import train_sft
    from mats_sql.training.steps import planned_steps

__all__ = ["TrainingJob", "planned_steps", "train", "train_orpo", "train_sft"]

__getattr__ = Face(
    __name__,
    {
        "jobs": ("TrainingJob",),
        "orpo": ("train_orpo",),
        "separate": ("train",),
        "sft": ("train_sft",),
        "steps": ("planned_steps",),
    },
)
