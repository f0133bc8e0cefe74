"""Processes that must not outlive the one that started them, however it ends.

vLLM runs its engine in processes of its own, and a parent that dies at once (SIGKILL, SIGTERM) leaves them running
with the card's memory: they wait for its next call (seen with vLLM 0.32). A small process watches the parent and ends
them.
This file is also that process's program, so it imports nothing but the standard library.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_LOOK_S = 0.5


class Warden:
    """Ends processes when this one is gone: those that it starts inside the ``with`` block, or those it was told of.

    The block is the start of something that may die in it; after it only the processes named to :meth:`watch` count,
    until :meth:`dismiss`.
    """

    def __init__(self) -> None:
        """Start the watching process, which leaves alone what runs already."""
        running = _descendants([os.getpid()], _parents())
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *map(str, (os.getpid(), *running))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the processes that it watches
        )

    def __enter__(self) -> Warden:
        """Watch what is started from here on."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Dismiss it when the start failed: who started cleans up."""
        if error is not None:
            self.dismiss()

    def watch(self, processes: Iterable[int]) -> None:
        """Watch these processes and what they start, and no others."""
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(map(str, processes)) + "\n").encode())
        self._process.stdin.flush()

    def dismiss(self) -> None:
        """End the watching; the processes are left as they are."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.stdin.close()
        self._process.wait()


def _main(parent: int, *before: int) -> None:
    told: set[int] | None = None
    watched: set[int] = set()
    while os.getppid() == parent:
        if select.select([sys.stdin] if told is None else [], [], [], _LOOK_S)[0] and (line := sys.stdin.readline()):
            told = {int(pid) for pid in line.split()}
        seen = told if told is not None else set(_descendants([parent], _parents())).difference(before)
        if os.getppid() == parent:  # else the parent died meanwhile, and what it had is nobody's
            watched = seen
    for process in (*_descendants(watched, _parents()), *watched):
        _end(process)


def _end(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended, and its number may be another's
        os.kill(process, signal.SIGKILL)


def _descendants(processes: Iterable[int], parents: dict[int, int]) -> Iterator[int]:
    """Yield what these processes started, and what that started, without the process that asks."""
    found = [child for process in processes for child, parent in parents.items() if parent == process]
    yield from (child for child in found if child != os.getpid())
    if found:
        yield from _descendants(found, parents)


def _parents() -> dict[int, int]:
    """Return every process's parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
    return found


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
