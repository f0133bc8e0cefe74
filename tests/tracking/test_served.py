"""``mlflow models serve`` with the champion: a real server process that answers over HTTP."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from mats_sql.rollout.sample import Source
from mats_sql.tracking.promotion import promote
from mats_sql.tracking.store import Store
from mats_sql.tracking.team_model import TeamModel
from tests.serving import free_port, serving
from tests.tracking.restored_environment import registered_team


@contextmanager
def served(address: str, folder: Path) -> Iterator[str]:
    """Serve a model as a user does; yield where it takes questions, once it does."""
    port, log = free_port(), folder / "log"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # MLflow starts uvicorn by its name
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", address, "--env-manager", "local"]
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--timeout", "600"]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
    with serving([*command, *place], f"http://127.0.0.1:{port}/ping", log, cwd=folder, env=environment):
        yield f"http://127.0.0.1:{port}/invocations"


@pytest.mark.slow
@pytest.mark.usefixtures("store_folder")
def test_the_served_champion_answers_over_http_as_it_does_here(store: Store, source: Source, tmp_path: Path) -> None:
    promote(store, registered_team(store), "the first")
    task = next(iter(source.tasks.values()))
    databases = [str(task.database), str(tmp_path / "nowhere.sqlite")]
    records = [{"question": task.question.text, "database": database, "evidence": ""} for database in databases]
    with served("models:/restored.team@champion", tmp_path) as address:
        request = urllib.request.Request(
            address, json.dumps({"dataframe_records": records}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            answers = json.load(response)["predictions"]
    folder = next((tmp_path / "mlruns").rglob("team.json")).parent
    here = TeamModel(folder).predict(pd.DataFrame(records))
    assert [row["sql"] for row in answers] == list(here["sql"])
    assert [row["outcome"] for row in answers] == list(here["outcome"]) == [here["outcome"][0], "error"]
    assert answers[0]["sql"]
    assert answers[0]["score"] == pytest.approx(here["score"][0])
    assert "nowhere.sqlite" in answers[1]["error"]
