"""Who runs a trial, and whether that process still lives.

On one host a process is known by its id and start time (ids are reused). A process of another host counts as alive
while its last heartbeat in the study is fresh.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

BEAT_S = 20.0
LEASE_S = 120.0


def this_worker() -> str:
    """Return this process's name: host, process id and start time."""
    return f"{socket.gethostname()}/{os.getpid()}/{_start_time(os.getpid())}"


def is_alive(worker: str, last_beat: float | None) -> bool:
    """Whether a worker named by :func:`this_worker` still runs; ``last_beat`` is in seconds since the epoch."""
    host, pid, started = worker.split("/")
    if host == socket.gethostname():
        return _start_time(int(pid)) == started
    return last_beat is not None and time.time() - last_beat < LEASE_S


@contextmanager
def beating(beat: Callable[[float], None]) -> Iterator[None]:
    """Call ``beat`` with the time now and then every 20 s, in a thread, until the block ends."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(BEAT_S):
            beat(time.time())

    beat(time.time())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _start_time(pid: int) -> str:
    """Return when a process began, in clock ticks since boot; empty when there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return "" if Path("/proc").exists() else _exists(pid)
    except (ProcessLookupError, PermissionError):
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _exists(pid: int) -> str:
    """Return a stand-in for the start time where there is no /proc (macOS): only whether the process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
