"""The embedded benchmark: generated BIRD-format databases and questions, and the small base model pretrained for them.

``write_lab`` (generator) writes a benchmark, ``base_model_path`` (base) finds the packaged base model, ``pretrain``
(pretraining) rebuilds it. Nothing here is imported by the agents or the team: to them the lab is one more BIRD folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.lab.generator import GENERATOR_VERSION, write_lab
    from mats_sql.lab.partition import check_reserved
    from mats_sql.lab.pretraining import pretrain, step_count

__all__ = ["GENERATOR_VERSION", "check_reserved", "pretrain", "step_count", "write_lab"]

__getattr__ = Face(
    __name__,
    {
        "generator": ("GENERATOR_VERSION", "write_lab"),
        "partition": ("check_reserved",),
        "pretraining": ("pretrain", "step_count"),
    },
)
