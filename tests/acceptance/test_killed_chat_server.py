"""A command whose agent is asked at a chat server that dies while it draws."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mats_sql.lab.base import base_model_path
from tests.acceptance.conftest import new_place
from tests.generation.chat_process import chat_process

FEW = {"batch_size": 8, "max_examples": 8}
LAB = {"train_databases": 2, "train_questions": 10, "dev_databases": 2, "dev_questions": 12}


@pytest.mark.slow
def test_a_chat_server_killed_while_a_command_draws_is_one_line(tmp_path: Path, empty_database: Path) -> None:
    (tmp_path / "place").mkdir()
    shutil.copyfile(empty_database, tmp_path / "place" / "mlflow.db")
    with chat_process(base_model_path(), tmp_path / "log", "--answers", "3") as server:
        generation = {"servers": {"planner": {"base_url": server.url}}, "attempts": 2}
        place = new_place(tmp_path / "place", lab=LAB, sft={"planner": FEW}, generation=generation)
        done = place.call("sft", "--agent", "fixer")
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert f"base_url must be reachable, but {server.url}: " in line
    assert line.endswith("; start the server; tried 2 times")
    assert "Traceback" not in done.stderr
