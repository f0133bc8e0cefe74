"""Turn examples and preference pairs into checkpoints that plain transformers and vLLM load.

``sft.train_sft`` drives TRL's SFTTrainer; ``orpo.train_orpo`` drives our own ORPO trainer (MATS.md, section 5), which
computes a pair's shared prompt once. Both drop over-long data instead of truncating it, depend on the seed alone, and
continue from the newest complete checkpoint. docs/training.md defines the loss and its denominators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.training.arguments import planned_steps
    from mats_sql.training.orpo import train_orpo
    from mats_sql.training.sft import train_sft

__all__ = ["planned_steps", "train_orpo", "train_sft"]

__getattr__ = Face(
    __name__,
    {
        "arguments": ("planned_steps",),
        "orpo": ("train_orpo",),
        "sft": ("train_sft",),
    },
)
