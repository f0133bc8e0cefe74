"""The checkpoints that training starts from, as artifacts with a digest."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mats_sql.digests import digest_tree
from mats_sql.errors import ModelError
from mats_sql.tracking.artifact import Artifact, ArtifactKind


@lru_cache(maxsize=16)
def base_model(name: str) -> Artifact:
    """Return a base model: ``lab`` is the embedded one, anything else a folder in transformers' layout."""
    if name == "lab":
        from mats_sql.lab.base import base_model_path

        path = base_model_path()
    else:
        path = Path(name).expanduser()
    if not (path / "config.json").exists():
        raise ModelError(
            f"a model must be a folder with a config.json, but got {name!r}; download the checkpoint first"
        )
    return Artifact("base", ArtifactKind.MODEL, path, digest_tree(path), run_id="", metadata={"base": name})
