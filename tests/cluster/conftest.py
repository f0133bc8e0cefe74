"""A Ray cluster of two nodes on this machine, and a look at its processes."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'mats-sql[ray]'"
)
MEMORY = 200_000_000


@dataclass
class TwoNodes:
    """A running cluster of two nodes, one core each; this process is on the first."""

    cluster: Any
    second: Any

    def lose(self) -> None:
        """Kill the second node, as a machine that loses its power."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def processes(self) -> dict[int, str]:
        """Return what this process and the cluster have started, by the names that they give themselves.

        An actor is called ``ray::EngineActor``, and ``ray::EngineActor.answer`` while it draws.
        """
        listed = commands()
        return {pid: command for pid, (command, _) in listed.items() if os.getpid() in _ancestors(pid, listed)}

    def named(self, name: str) -> list[int]:
        """Return the processes whose name holds ``name``."""
        return [pid for pid, command in self.processes().items() if name in command]

    def first_named(self, name: str) -> int:
        """Wait for a process whose name holds ``name``."""
        found: list[int] = []
        wait_until(lambda: bool(found.extend(self.named(name)) or found), f"a process called {name}")
        return found[0]


def wait_until(met: Callable[[], bool], what: str, deadline_s: float = 300.0) -> None:
    """Look again and again until the condition is met; fail after the deadline, which says nothing about speed."""
    end = time.monotonic() + deadline_s
    while not met():
        assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}"
        time.sleep(0.05)  # looking at other processes, not waiting for a time to pass


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    """Start the cluster, which is the one that is joined meanwhile."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    os.environ["RAY_ADDRESS"] = cluster.address
    yield TwoNodes(cluster, second)
    del os.environ["RAY_ADDRESS"]
    ray.shutdown()
    cluster.shutdown()


def commands() -> dict[int, tuple[str, int]]:
    """Return every live process's command, or the name that it gave itself, and its parent."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if state != "Z":
            found[int(folder.name)] = (command, int(parent))
    return found


def _ancestors(pid: int, listed: dict[int, tuple[str, int]]) -> Iterator[int]:
    while pid in listed:
        pid = listed[pid][1]
        yield pid
