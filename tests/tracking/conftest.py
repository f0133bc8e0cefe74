"""A real MLflow store per test: a copy of one empty database, because making one takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mats_sql.tracking.store import Store, connect


@pytest.fixture
def store_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Path:
    """A folder with an MLflow database, made the current one, without settings of the caller's environment."""
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return tmp_path


@pytest.fixture
def store(store_folder: Path) -> Store:
    return connect("test", store_folder / "work")
