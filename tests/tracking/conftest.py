"""A real MLflow store per test: a copy of one empty database, because making one takes seconds."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mats_sql.tracking.store import Store, connect
from tests.serving import free_port, serving


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


@pytest.fixture
def artifact_server(store_folder: Path) -> Iterator[str]:
    """The address of a real server that keeps artifacts itself, in `kept`: clients reach them through it alone."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store_folder}/mlflow.db"]
    command += ["--artifacts-destination", str(store_folder / "kept"), "--serve-artifacts"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    address = f"http://127.0.0.1:{port}"
    with serving(command, f"{address}/health", store_folder / "server.log", env=environment):
        yield address
