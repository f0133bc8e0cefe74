"""The sizes of what benchmarks/gpu.py measures, and the lines of its table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mats_sql.config import PretrainSettings
from mats_sql.shapes import ModelShape, published

COLUMNS = ("part", "system", "rate", "MFU", "peak GiB", "doctor's GiB", "over the reference")


@dataclass(frozen=True)
class Size:
    """How large everything is; ``checkpointing`` names the shapes that train with gradient checkpointing."""

    shapes: dict[str, ModelShape]
    batch: dict[str, int]
    checkpointing: frozenset[str]
    prompt: int
    answer: int
    prompts: int
    samples: int
    questions: int
    pretraining: PretrainSettings
    device: str
    dtype: str


@dataclass(frozen=True)
class Row:
    """One line of the table; ``told_mib`` is `doctor`'s estimate, ``over`` the rate over that of the reference."""

    part: str
    system: str
    rate: float | None = None
    unit: str = "tokens/s"
    mfu: float | None = None
    peak_mib: float | None = None
    told_mib: float | None = None
    over: float | None = None
    note: str = ""


def full() -> Size:
    """Return the sizes for a GPU."""
    shapes = {name: published_shape(name) for name in ("0.5B", "1.5B", "3B")}
    batch, checkpointing = {"0.5B": 8, "1.5B": 4, "3B": 4}, frozenset({"1.5B", "3B"})
    return Size(shapes, batch, checkpointing, 1700, 200, 64, 8, 64, _pretraining(), "cuda", "bfloat16")


def small() -> Size:
    """Return the sizes for trying the code on a CPU."""
    shape = replace(
        published_shape("0.5B"),
        width=64,
        feed_forward=128,
        layers=2,
        heads=2,
        key_heads=1,
        head_size=32,
        vocabulary=512,
    )
    pretraining = _pretraining(batch_size=4, width=64, layers=2)
    shapes, batch = {"tiny": shape, "deeper": replace(shape, layers=4)}, {"tiny": 2, "deeper": 2}
    return Size(shapes, batch, frozenset({"deeper"}), 96, 16, 64, 4, 4, pretraining, "cpu", "float32")


def _pretraining(**settings: int) -> PretrainSettings:
    """Return a pretraining of 13 steps on examples, of which 12 are timed: each is most of a second on one core.

    Reports come every 25 steps and at the end. So 24 steps of copying go before, of single tokens, which take no time;
    the first step on examples, which waits until they are drawn, is the 25th.
    """
    made = PretrainSettings.model_validate({"copy_steps": 24, "copy_tokens": 1, "review_examples": 0, **settings})
    return made.model_copy(update={"examples": 13 * made.batch_size * made.processes})


def line_of(row: Row) -> str:
    """Return a row as a line of a Markdown table."""
    if row.rate is None:
        return f"| {row.part} | {row.system} | {row.note} | | | | |"
    mfu = "–" if row.mfu is None else f"{row.mfu:.1%}"
    peak, told = ("–" if mib is None else f"{mib / 1024:.2f}" for mib in (row.peak_mib, row.told_mib))
    over = "–" if row.over is None else f"{row.over:.2f}"
    rounds = f" ({row.note})" if row.note else ""
    return f"| {row.part} | {row.system}{rounds} | {row.rate:,.1f} {row.unit} | {mfu} | {peak} | {told} | {over} |"


def published_shape(name: str) -> ModelShape:
    """Return the shape that Qwen2.5-Coder of this size is published with."""
    found = published(f"Qwen2.5-Coder-{name}")
    assert found is not None
    return found.shape
