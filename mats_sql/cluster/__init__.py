"""Other machines: a Ray cluster that engines and SQL workers are sent to (``cluster: ray``, docs/scale.md).

The room knows how to join a cluster and how large it is. What is computed there belongs to the rooms that compute it:
``generation`` sends engines, ``sql`` sends SQL workers. Importing it does not import Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.cluster.ray_cluster import Node, join, nodes, of_cluster, require_ray

__all__ = ["Node", "join", "nodes", "of_cluster", "require_ray"]

__getattr__ = Face(__name__, {"ray_cluster": ("Node", "join", "nodes", "of_cluster", "require_ray")})
