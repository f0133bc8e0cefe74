"""A team's folder: opened agent by agent, and refused in one line when it is no team."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mats_sql.agents.critique import Validator
from mats_sql.errors import ModelError
from mats_sql.generation.engine import Engine
from mats_sql.team.flow import Agents
from mats_sql.team.folder import TEAM_FILE, TeamSettings, agents_of, read_settings, write_team


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_settings_read_back_as_they_were_written(tmp_path: Path, checkpoint: Path) -> None:
    settings = TeamSettings(seed=7, schema_style={"show_types": False})
    write_team(tmp_path / "team", {"planner": checkpoint}, settings)
    assert read_settings(tmp_path / "team") == settings
    assert not read_settings(tmp_path / "team").benchmark_settings().show_types


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "a team must have a team.json"),
        ("{", "team.json must be valid"),
        (json.dumps({"policy": {"k": 0}}), r"must be valid.*'policy', 'k'"),
        (json.dumps({"colour": "red"}), r"must be valid.*'colour'"),
    ],
)
def test_a_folder_without_valid_settings_is_refused_in_one_line(content: str | None, rule: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / TEAM_FILE).write_text(content)
    with pytest.raises(ModelError, match=rule) as raised:
        read_settings(tmp_path)
    assert "\n" not in str(raised.value)


def test_each_agent_gets_the_engine_of_its_own_checkpoint(tmp_path: Path, engine: Engine) -> None:
    opened: list[str] = []

    def remember(folder: Path) -> Engine:
        opened.append(folder.name)
        return engine

    for name in ("planner", "condition-validator", "selector"):
        (tmp_path / name).mkdir()
    assert agents_of(tmp_path, remember) == Agents(engine, {Validator.CONDITION: engine}, None, engine)
    assert sorted(opened) == ["condition-validator", "planner", "selector"]


def test_a_folder_without_a_planner_is_no_team(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "fixer").mkdir()
    with pytest.raises(ModelError, match="must have a planner"):
        agents_of(tmp_path, lambda _: engine)
