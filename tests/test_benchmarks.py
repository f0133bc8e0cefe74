"""What `benchmarks/` measures on a card runs on a CPU too, so that a card's time is not lost to a broken import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "rows"),
    [
        ("orpo,sft", ["| orpo tiny | TRL |", "| orpo tiny | ours |", "| sft tiny | TRL |", "| sft tiny | ours |"]),
        ("transformers,team", ["| transformers draws | ours |", "| transformers scores | ours |", "| team of five"]),
    ],
)
def test_every_part_for_a_gpu_has_its_row_on_a_cpu(only: str, rows: list[str]) -> None:
    command = [sys.executable, BENCHMARKS / "gpu.py", "--small", "--only", only]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    table = printed[printed.index("| part |") :]
    for row in rows:
        [line] = [line for line in table.splitlines() if line.startswith(row)]
        assert any(unit in line for unit in ("tokens/s", "prompts/s", "questions/s")), line
