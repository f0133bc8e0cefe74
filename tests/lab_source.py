"""A few questions of a small lab benchmark as a source, and engines on the packaged base model: real parts, quickly."""

from __future__ import annotations

from pathlib import Path

from mats_sql.benchmark.bird import read_bird
from mats_sql.config import BenchmarkSettings, GenerationSettings, LabSettings
from mats_sql.lab.generator import write_lab
from mats_sql.pipeline.questions import source
from mats_sql.rollout.sample import Source

GENERATION = GenerationSettings(plan_tokens=96, critique_tokens=48, fix_tokens=48)
LAB = LabSettings(seed=7, train_databases=2, train_questions=24, dev_databases=2, dev_questions=24)


def lab_source(root: Path, questions: int = 12) -> Source:
    """Return the first dev questions of the small lab, written to ``root`` if it is not there."""
    if not (root / "dev.json").exists():
        write_lab(root, LAB)
    benchmark = read_bird(root, "dev")
    ids = [question.question_id for question in benchmark.questions][:questions]
    return source(benchmark, ids, BenchmarkSettings())
