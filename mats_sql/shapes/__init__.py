"""A decoder's size from its ``config.json``, published shapes, and checkpoints of a shape with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.shapes.publications import PUBLISHED, PublishedModel, published
    from mats_sql.shapes.shape import ModelShape, shape_of
    from mats_sql.shapes.untrained import random_qwen2, write_untrained

__all__ = [
    "PUBLISHED",
    "ModelShape",
    "PublishedModel",
    "published",
    "random_qwen2",
    "shape_of",
    "write_untrained",
]

__getattr__ = Face(
    __name__,
    {
        "publications": ("PUBLISHED", "PublishedModel", "published"),
        "shape": ("ModelShape", "shape_of"),
        "untrained": ("random_qwen2", "write_untrained"),
    },
)
