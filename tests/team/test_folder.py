"""A team's folder: opened agent by agent, and refused in one line when it is no team."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mats_sql.agents.critique import Validator
from mats_sql.digests import digest_tree
from mats_sql.errors import ConfigError, ModelError
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


SPEED = {
    "generation": {
        "batch_tokens": 99,
        "decode_rows": 9,
        "loaded_models": 2,
        "gpu_memory_utilization": 0.5,
        "tensor_parallel_size": 2,
        "compiled": False,
        "concurrency": 3,
        "attempts": 4,
        "timeout_s": 5.0,
    },
    "sql": {"workers": 7},
}


def test_a_teams_file_says_nothing_of_speed(tmp_path: Path, checkpoint: Path) -> None:
    for name, given in (("plain", {}), ("tuned", SPEED)):
        write_team(tmp_path / name, {"planner": checkpoint}, TeamSettings.model_validate(given))
    assert digest_tree(tmp_path / "tuned") == digest_tree(tmp_path / "plain")
    written = json.loads((tmp_path / "tuned" / TEAM_FILE).read_text())
    assert not written["generation"].keys() & SPEED["generation"].keys()
    assert written["sql"].keys() == {"limits"}


@pytest.mark.parametrize(
    "given", [{"dtype": "bfloat16"}, {"engine": "vllm"}, {"quantization": "fp8"}, {"base_url": "http://a/v1"}]
)
def test_a_teams_file_says_who_answers(tmp_path: Path, checkpoint: Path, given: dict[str, str]) -> None:
    settings = TeamSettings.model_validate({"generation": given})
    write_team(tmp_path / "team", {"planner": checkpoint}, settings)
    assert read_settings(tmp_path / "team") == settings


def test_a_team_answers_at_the_speed_of_its_machine() -> None:
    tuned = TeamSettings(seed=3).at_speed("{loaded_models: 5, decode_rows: 16, workers: 4}")
    assert (tuned.generation.loaded_models, tuned.generation.decode_rows, tuned.sql.workers) == (5, 16, 4)
    assert tuned.lasting() == TeamSettings(seed=3).lasting()
    assert TeamSettings(seed=3).at_speed("") == TeamSettings(seed=3)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("{dtype: bfloat16}", "MATS_SPEED may set attempts, .*, workers, but got 'dtype'"),
        (
            "{decode_rows: 0}",
            "MATS_SPEED: generation.decode_rows: Input should be greater than or equal to 1, but got 0",
        ),
        ("{workers: none}", "MATS_SPEED: sql.workers: Input should be a valid integer"),
        ("fast", "MATS_SPEED must be a mapping, but got 'fast'"),
        ("{", "MATS_SPEED must be a mapping, but got '{'"),
    ],
)
def test_a_speed_that_cannot_be_is_refused_in_one_line(given: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as raised:
        TeamSettings().at_speed(given)
    assert "\n" not in str(raised.value)


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

    def remember(agent: str, folder: Path) -> Engine:
        assert folder == tmp_path / agent
        opened.append(agent)
        return engine

    for name in ("planner", "condition-validator", "selector"):
        (tmp_path / name).mkdir()
    assert agents_of(tmp_path, remember) == Agents(engine, {Validator.CONDITION: engine}, None, engine)
    assert sorted(opened) == ["condition-validator", "planner", "selector"]


def test_a_folder_without_a_planner_is_no_team(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "fixer").mkdir()
    with pytest.raises(ModelError, match="must have a planner"):
        agents_of(tmp_path, lambda *_: engine)
