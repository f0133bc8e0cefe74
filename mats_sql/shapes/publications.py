"""The published shapes of the Qwen2.5-Coder family, so that a config is checked before its checkpoints are there.

From each checkpoint's own ``config.json`` and model card.
"""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.shapes.shape import ModelShape


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A checkpoint that is published under ``name`` on the Hugging Face hub.

    ``license`` is the hub's identifier; ``terms`` is the licence's name where that says ``other``.
    """

    name: str
    shape: ModelShape
    license: str
    terms: str = ""


def _qwen_coder(
    size: str, *, layers: int, width: int, feed_forward: int, heads: int, key_heads: int, tied: bool = True
) -> PublishedModel:
    shape = ModelShape(
        width=width,
        feed_forward=feed_forward,
        layers=layers,
        heads=heads,
        key_heads=key_heads,
        head_size=width // heads,
        vocabulary=151_936 if tied else 152_064,
        tied=tied,
        qkv_bias=True,
        context=32_768,
        file_bytes_per_weight=2,
    )
    terms = {"license": "other", "terms": "qwen-research"} if size == "3B" else {"license": "apache-2.0"}
    return PublishedModel(f"Qwen/Qwen2.5-Coder-{size}-Instruct", shape, **terms)


PUBLISHED = (
    _qwen_coder("0.5B", layers=24, width=896, feed_forward=4864, heads=14, key_heads=2),
    _qwen_coder("1.5B", layers=28, width=1536, feed_forward=8960, heads=12, key_heads=2),
    _qwen_coder("3B", layers=36, width=2048, feed_forward=11_008, heads=16, key_heads=2),
    _qwen_coder("7B", layers=28, width=3584, feed_forward=18_944, heads=28, key_heads=4, tied=False),
)


def published(name: str) -> PublishedModel | None:
    """Return the published model that a hub name or a folder's last part names, with or without ``-Instruct``."""
    return next((item for item in PUBLISHED if _plain(item.name) == _plain(name)), None)


def _plain(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold().removesuffix("-instruct")
