"""Which processes a process has started, as Linux tells it."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in listed for child in file.read_text().split() if state(int(child)) != "Z"]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_spawned(pid: int) -> bool:
    """Whether multiprocessing started it to do work."""
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
