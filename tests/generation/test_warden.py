"""Processes end with the one that started them, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mats_sql.generation.warden import Warden

LIMIT_S = 60
STARTS = """
import subprocess, sys
from mats_sql.generation.warden import Warden
child = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '1000']).pid, flush=True); time.sleep(1000)"
def start():
    process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
    return process.pid, int(process.stdout.readline())
with Warden() as warden:
    told = start()
    if sys.argv[1] == "in its start":
        print(*told, warden._process.pid, flush=True)
        sys.stdin.read()
    warden.watch(told[:1])
other = start()
if sys.argv[1] == "dismissed":
    warden.dismiss()
print(*told, *other, warden._process.pid, flush=True)
sys.stdin.read()
"""


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if not any(runs(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def killed() -> Iterator[Callable[[str, int], list[int]]]:
    """Start a process that starts others at some point, kill it, and return the others."""
    left: list[int] = []

    def kill(when: str, with_signal: int) -> list[int]:
        parent = subprocess.Popen(
            [sys.executable, "-c", STARTS, when], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        left.extend(pids)
        if when == "in its start":
            time.sleep(2)  # it looks every half second
        parent.send_signal(with_signal)
        parent.communicate()
        return pids

    yield kill
    for pid in left:
        if runs(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_what_it_was_told_of_ends_with_its_children_and_nothing_else_does(
    killed: Callable[[str, int], list[int]], with_signal: int
) -> None:
    child, grandchild, other, others_child, warden = killed("when all is started", with_signal)
    assert gone([child, grandchild, warden])
    assert runs(other)
    assert runs(others_child)


def test_what_is_being_started_ends_too(killed: Callable[[str, int], list[int]]) -> None:
    assert gone(killed("in its start", signal.SIGKILL))


def test_a_dismissed_one_ends_nothing(killed: Callable[[str, int], list[int]]) -> None:
    *processes, warden = killed("dismissed", signal.SIGKILL)
    assert gone([warden])
    assert all(runs(pid) for pid in processes)


def test_a_start_that_fails_leaves_no_warden() -> None:
    with pytest.raises(OSError, match="no room"), Warden() as warden:
        raise OSError("no room")
    assert warden._process.returncode is not None
