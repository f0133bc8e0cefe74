"""What `benchmarks/` measures on a card runs on a CPU too, so that a card's time is not lost to a broken import."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def table_of(only: str) -> str:
    """Return the table that some parts of the benchmark end with, at tiny shapes."""
    command = [sys.executable, BENCHMARKS / "gpu.py", "--small", "--only", only]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return printed[printed.index("| part |") :]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "rows"),
    [
        (
            "orpo,sft",
            [
                f"| {training} {shape} | {system} |"
                for training in ("orpo", "sft")
                for shape in ("tiny", "deeper")
                for system in ("TRL", "ours")
            ],
        ),
        ("pretraining", ["| lab's pretraining | 2 processes, CPU |"]),
        ("transformers,team", ["| transformers draws | ours |", "| transformers scores | ours |", "| team of five"]),
    ],
)
def test_every_part_for_a_gpu_has_its_row_on_a_cpu(only: str, rows: list[str]) -> None:
    table = table_of(only)
    for row in rows:
        [line] = [line for line in table.splitlines() if line.startswith(row)]
        assert any(unit in line for unit in ("tokens/s", "prompts/s", "questions/s", "examples/s")), line


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed, and would be measured")
def test_without_vllm_its_part_says_that_it_was_skipped() -> None:
    lines = [line for line in table_of("vllm").splitlines() if line.startswith("| vllm")]
    skipped = ["–", "vllm is not installed: skipped"]
    assert [line.split(" | ")[:3] for line in lines] == [["| vllm", *skipped], ["| vllm deeper", *skipped]]
