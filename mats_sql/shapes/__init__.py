"""What is known of a decoder from its ``config.json`` alone, and the published shapes of checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.shapes.publications import PUBLISHED, PublishedModel, published
    from mats_sql.shapes.shape import ModelShape, shape_of

__all__ = ["PUBLISHED", "ModelShape", "PublishedModel", "published", "shape_of"]

__getattr__ = Face(
    __name__,
    {
        "publications": ("PUBLISHED", "PublishedModel", "published"),
        "shape": ("ModelShape", "shape_of"),
    },
)
