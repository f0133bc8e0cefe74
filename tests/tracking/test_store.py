"""Connecting to stores that are there, that are not, and to a real MLflow server with proxied artifacts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mats_sql.errors import TrackingError
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.lineage_tree import lineage
from mats_sql.tracking.registry import register
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import connect
from tests.serving import free_port

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_setting_the_store_is_a_database_in_the_current_folder(
    store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    store = connect("mine", store_folder / "work")
    assert store.tracking_uri == f"sqlite:///{store_folder / 'mlflow.db'}"
    assert store.experiment_name == "mine"
    assert connect("mine", store_folder / "work").experiment_id == store.experiment_id


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:{port}",
        "http://user:secret@127.0.0.1:{port}",
        "postgresql+psycopg2://user:secret@127.0.0.1:{port}/mlflow",
        "mysql+nodriver://user:secret@127.0.0.1:{port}/mlflow",
        "sqlite:////proc/nothing/mlflow.db",
        "nonsense://somewhere",
    ],
)
def test_a_store_that_does_not_answer_is_one_line_within_seconds(
    uri: str, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(port=free_port()))
    started = time.monotonic()
    with pytest.raises(TrackingError) as error:
        connect("mine", store_folder / "work")
    assert time.monotonic() - started < 15
    message = str(error.value)
    assert "\n" not in message
    assert "set MLFLOW_TRACKING_URI" in message
    assert "secret" not in message


def test_a_server_that_takes_the_call_and_says_nothing_is_given_up(
    store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(TrackingError, match="must answer"):
            connect("mine", store_folder / "work")
        assert time.monotonic() - started < 20


def test_two_that_open_a_new_store_at_once_both_work_in_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from mats_sql.tracking import connect; "
        "print(connect('lab', Path(sys.argv[1])).experiment_id)"
    )
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'new.db'}", "PYTHONPATH": str(ROOT)}
    asked = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / name],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    told = [process.communicate() for process in asked]
    assert [process.returncode for process in asked] == [0, 0], told
    assert len({identity for identity, _ in told}) == 1


def test_a_deleted_experiment_is_refused(store_folder: Path) -> None:
    store = connect("gone", store_folder / "work")
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(TrackingError, match="'gone' is deleted"):
        connect("gone", store_folder / "work")


def test_a_server_with_proxied_artifacts_gives_back_what_it_was_given(
    artifact_server: str, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", artifact_server)
    store = connect("remote", store_folder / "work")

    def compute(run: StageRun) -> None:
        folder = run.work / "model"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        table = run.work / "rows.txt"
        table.write_text("rows")
        run.output("model", ArtifactKind.MODEL, folder, {"agent": "fixer"})
        run.output("rows", ArtifactKind.DATASET, table)

    stage = Stage(StageKey("sft", 1), "sft")
    first = run_stage(store, stage, compute)
    assert first.outputs["rows"].uri.startswith("mlflow-artifacts:")
    assert register(store, first.outputs["rows"], "remote.dataset.rows", {}).is_new
    assert register(store, first.outputs["model"], "remote.fixer", {}).is_new
    assert not register(store, first.outputs["model"], "remote.fixer", {}).is_new
    assert lineage(store, "remote.fixer/1").run_id == first.run_id
    shutil.rmtree(store_folder / "work")
    again = run_stage(connect("remote", store_folder / "work"), stage, compute)
    assert again.reused
    assert again.outputs["rows"].path.read_text() == "rows"
    assert (again.outputs["model"].path / "config.json").read_text() == "{}"
    again.outputs["rows"].path.write_text("changed")
    assert run_stage(store, stage, compute).outputs["rows"].path.read_text() == "rows"
