"""Join a Ray cluster, see what it has, and turn its errors into one line.

Ray itself decides which cluster: the one of ``RAY_ADDRESS``, else one that runs on this machine, else it starts one of
this machine alone. The code travels with the process that joins, so that all nodes run the same; checkpoints and
databases do not: they must be found under the same paths everywhere.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mats_sql
from mats_sql.errors import ClusterError, one_line

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's core writes lines on stderr that say "error" and mean none; what ends a stage is raised.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


@dataclass(frozen=True, slots=True)
class Node:
    """A live machine of the cluster: Ray's id of it, its cores and its GPUs."""

    node_id: str
    cpus: int
    gpus: int


def require_ray() -> None:
    """Raise :class:`ClusterError` if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ClusterError(
            "cluster: ray needs Ray, but it is not installed; pip install 'mats-sql[ray]' or leave cluster out"
        )


def join() -> None:
    """Connect this process to the cluster, once. Raises :class:`ClusterError` where none can be reached or started."""
    require_ray()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # before Ray is imported: it reads them then
    import ray

    if ray.is_initialized():
        return
    try:
        ray.init(runtime_env={"py_modules": [mats_sql]}, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS", "on this machine")
        raise ClusterError(
            f"a Ray cluster must be reachable, but {where}: {one_line(error)}; start it, or mend RAY_ADDRESS"
        ) from None


def nodes() -> tuple[Node, ...]:
    """Return the cluster's live machines, those with GPUs first."""
    import ray

    found = [
        Node(node["NodeID"], int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
        for node in ray.nodes()
        if node["Alive"]
    ]
    return tuple(sorted(found, key=lambda node: (-node.gpus, node.node_id)))


@contextmanager
def of_cluster(what: str) -> Iterator[None]:
    """Raise what Ray raises in the block as :class:`ClusterError`; ``what`` names the work, as the line's subject."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause = getattr(error, "cause", None) or error
        raise ClusterError(
            f"{what} must be done on some node of the cluster, but: {type(cause).__name__}: {one_line(cause)}; look at "
            "the nodes (ray status) and start again, what is done is kept"
        ) from None
