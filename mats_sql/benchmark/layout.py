"""Where a split's files lie below a benchmark's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mats_sql.errors import BenchmarkError

_SPIDER_QUESTIONS = {"dev": ("dev.json",), "train": ("train_spider.json", "train_spider_min.json")}


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """A split's question file, tables file and folder of databases; none of them need exist."""

    questions: Path
    tables: Path
    databases: Path


def bird_files(root: Path, split: str) -> SplitFiles:
    """Return where a split lies in BIRD's layout: in ``root``, or in ``root/<split>`` if its questions are there."""
    folder = root / split if (root / split / f"{split}.json").is_file() else root
    return SplitFiles(folder / f"{split}.json", folder / f"{split}_tables.json", folder / f"{split}_databases")


def spider_files(root: Path, split: str) -> SplitFiles:
    """Return where a split lies in Spider's layout; raises :class:`BenchmarkError` for a split it does not have."""
    if split not in _SPIDER_QUESTIONS:
        raise BenchmarkError(f"a Spider split must be train or dev, but got {split!r}")
    candidates = [root / name for name in _SPIDER_QUESTIONS[split]]
    questions = next((path for path in candidates if path.is_file()), candidates[0])
    return SplitFiles(questions, root / "tables.json", root / "database")
