"""How this process's compute threads wait for each other.

torch's CPU build computes with GNU OpenMP, whose threads spin for milliseconds while they wait for the slowest of them.
On a core that another process keeps busy the slowest does not even run, so the others burn their time slices until it
does, again at every one of the thousands of small operations of a decode step: beside one busy process a stage takes
three to four times as long. Threads that never spin hand their core over at once, but have to be woken for every
operation, which a quiet machine pays for. So they spin a little: docs/performance.md has the measurement.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPINS = 1000
"""Some microseconds: longer than threads of one operation wait for each other on cores of their own."""

_THREADS = "OMP_NUM_THREADS"
_DECIDED_BY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def threads_shared_among(processes: int) -> Iterator[None]:
    """Give this process and those that it starts meanwhile each a share of the cores, unless the environment decides.

    Small operations gain little from a second thread: processes of one thread each do nearly twice as much on two cores
    (docs/performance.md).
    """
    if _THREADS in os.environ:
        yield
        return
    torch, share = sys.modules.get("torch"), max(1, usable_cores() // processes)
    before = torch.get_num_threads() if torch else 0
    os.environ[_THREADS] = str(share)
    if torch:
        torch.set_num_threads(share)
    try:
        yield
    finally:
        del os.environ[_THREADS]
        if torch:
            torch.set_num_threads(before)


def let_threads_sleep() -> None:
    """Make waiting compute threads sleep soon, here and in child processes, unless the environment decides otherwise.

    Call it before torch is imported: the OpenMP library reads its environment once, when it is loaded.
    """
    if not any(name in os.environ for name in _DECIDED_BY):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
