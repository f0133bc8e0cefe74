"""Where the packaged base model is."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mats_sql.errors import ModelError


def base_model_path() -> Path:
    """Return the folder of the packaged base model, in the layout that transformers loads.

    Raises :class:`ModelError` when the package was installed without it.
    """
    path = Path(str(resources.files("mats_sql.lab") / "base"))
    if not (path / "config.json").is_file():
        raise ModelError(
            f"the package must hold the lab's base model, but {path} has none; reinstall, or rebuild it with the "
            "entry point pretrain"
        )
    return path
