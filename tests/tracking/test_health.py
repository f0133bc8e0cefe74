"""A store's health is found out without leaving anything in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mats_sql.errors import TrackingError
from mats_sql.tracking import connect, store_health


def test_a_store_that_is_not_there_yet_is_healthy_and_stays_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    health = store_health("any")
    assert health.is_new
    assert health.artifact_problem == health.registry_problem == ""
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_answers_is_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    connect("made", tmp_path / "work")
    for name in ("made", "not-made"):
        health = store_health(name)
        assert not health.is_new
        assert health.artifact_problem == health.registry_problem == ""
        assert health.folder is not None


def test_artifacts_below_a_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").write_text("in the way")
    assert "cannot be written to" in store_health("any").artifact_problem


def test_a_server_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match="must answer"):
        store_health("any")
