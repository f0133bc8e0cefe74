"""Where the checkpoints are that training starts from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mats_sql.digests import digest_tree
from mats_sql.errors import ModelError
from mats_sql.layers import base_of
from mats_sql.tracking import Artifact, ArtifactKind


def base_folder(name: str) -> Path:
    """Return the folder of a base model, in transformers' layout.

    ``lab`` is the embedded one, anything else a folder, or a name on the Hugging Face hub of which this machine's
    cache has a copy; nothing is downloaded. Raises :class:`ModelError` when there is none.
    """
    if name == "lab":
        from mats_sql.lab.base import base_model_path

        return base_model_path()
    path = Path(name).expanduser()
    found = path if (base_of(path) / "config.json").is_file() else _cached(name)
    if found is None:
        raise ModelError(
            f"a model must be a folder with a config.json, or a hub name that this machine's cache holds, but got "
            f"{name!r}; download it first (hf download OWNER/NAME)"
        )
    return found


@lru_cache(maxsize=16)
def base_model(name: str) -> Artifact:
    """Return a base model by its name in ``models``; raises :class:`ModelError` when there is none."""
    path = base_folder(name)
    return Artifact("base", ArtifactKind.MODEL, path, digest_tree(path), run_id="", metadata={"base": name})


def _cached(name: str) -> Path | None:
    from transformers.utils import cached_file

    try:
        config = cached_file(name, "config.json", local_files_only=True)
    except (OSError, ValueError):  # not there, or no name that the hub could have
        return None
    return Path(config).parent if config else None
