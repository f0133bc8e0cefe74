"""The registered team as users load it: through MLflow, on a real SQLite file, with real (tiny) checkpoints."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from mats_sql.agents.messages import user
from mats_sql.agents.names import FIXER, PLANNER
from mats_sql.benchmark.sqlite_schema import schema_from_sqlite
from mats_sql.config import GenerationSettings, Policy, SqlSettings
from mats_sql.errors import ModelError
from mats_sql.rollout.sample import Source
from mats_sql.team.folder import TeamSettings, read_settings, write_team
from mats_sql.tracking.agent_model import MAX_NEW_TOKENS, AgentModel
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.promotion import promote
from mats_sql.tracking.registry import register
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import Store
from tests.generation.conftest import Reference, make_llama
from tests.tracking.restored_environment import registered_team

SETTINGS = TeamSettings(
    policy=Policy(k=2),
    generation=GenerationSettings(plan_tokens=16, critique_tokens=8, fix_tokens=8),
    sql=SqlSettings(workers=1),
    schema_style={"values_per_column": 1, "show_meanings": False},
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "football.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE league (id INTEGER PRIMARY KEY, name VARCHAR(20), founded DATE);
        CREATE TABLE club (
            id INTEGER PRIMARY KEY, name TEXT, budget DOUBLE, opened TIMESTAMP, league_id INT REFERENCES league
        );
        INSERT INTO league VALUES (1, 'North', '1901-01-01');
        INSERT INTO club VALUES (1, 'Rovers', 1.5, NULL, 1);
        """
    )
    connection.close()
    return path


def test_the_schema_of_a_bare_file_reads_like_a_benchmarks(database: Path) -> None:
    schema = schema_from_sqlite(database)
    assert schema.db_id == "football"
    assert {table.name: [(c.name, c.type, c.has_null) for c in table.columns] for table in schema.tables} == {
        "league": [("id", "integer", False), ("name", "text", False), ("founded", "date", False)],
        "club": [
            ("id", "integer", False),
            ("name", "text", False),
            ("budget", "real", False),
            ("opened", "datetime", True),
            ("league_id", "integer", False),
        ],
    }
    (key,) = schema.foreign_keys
    assert (key.table, key.column, key.to_table, key.to_column) == ("club", "league_id", "league", "id")


def outcome_in(database: Path, sql: str) -> str:
    with closing(sqlite3.connect(database)) as connection:
        try:
            return "rows" if connection.execute(sql).fetchall() else "empty"
        except sqlite3.OperationalError:
            return "error"


def test_the_champion_answers_questions_about_a_sqlite_file(store: Store, source: Source) -> None:
    promote(store, registered_team(store), "the first")
    model = mlflow.pyfunc.load_model("models:/restored.team@champion")
    tasks = list(source.tasks.values())[:2]
    asked = [{"question": task.question.text, "database": str(task.database)} for task in tasks]
    questions = pd.DataFrame(asked, index=[7, 3])
    answers = model.predict(questions)
    assert list(answers.index) == [7, 3]
    outcomes = [outcome_in(task.database, sql) for task, sql in zip(tasks, answers["sql"], strict=True)]
    assert list(answers["outcome"]) == outcomes
    assert "rows" in outcomes
    assert answers["score"].between(0, 1).all()
    assert answers["candidates"].between(1, 4).all()
    alone = model.predict(questions.assign(evidence=None).iloc[1:])
    assert alone.iloc[0]["sql"] == answers.iloc[1]["sql"]
    assert alone.iloc[0]["score"] == pytest.approx(answers.iloc[1]["score"])


def test_an_agent_can_be_asked_by_hand(store: Store, checkpoint: Path) -> None:
    def compute(run: StageRun) -> None:
        run.output("model", ArtifactKind.MODEL, checkpoint, {"agent": FIXER})

    fixer = run_stage(store, Stage(StageKey("sft", 1), "sft"), compute).outputs["model"]
    register(store, fixer, "test.fixer", {})
    prompts = ["select name", "Which league?"]
    answers = mlflow.pyfunc.load_model("models:/test.fixer/1").predict(pd.DataFrame({"prompt": prompts}))
    reference = Reference(checkpoint)
    assert list(answers["text"]) == [reference.greedy(user(prompt), MAX_NEW_TOKENS) for prompt in prompts]
    assert all(answers["text"])


def test_an_agent_is_loaded_once_however_often_it_is_asked(checkpoint: Path) -> None:
    agent = AgentModel(checkpoint)
    assert agent._engine.starts == 0
    for prompt in ("select name", "Which league?"):
        agent.predict(pd.DataFrame({"prompt": [prompt]}))
    assert agent._engine.starts == 1


def test_a_team_of_other_prompts_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    other = TeamSettings(prompt_versions={"planner": "planner-0"})
    write_team(tmp_path / "team", {PLANNER: checkpoint}, other)
    with pytest.raises(ModelError, match="the prompts it was trained on"):
        read_settings(tmp_path / "team")


@pytest.mark.parametrize("agents", [("fixer",), ("planner", "critic"), ()])
def test_a_team_has_a_planner_and_known_agents(tmp_path: Path, checkpoint: Path, agents: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="must have a planner"):
        write_team(tmp_path / "team", dict.fromkeys(agents, checkpoint), SETTINGS)


def test_a_team_folder_settles_its_digest_by_content_alone(tmp_path: Path, checkpoint: Path) -> None:
    from mats_sql.digests import digest_tree

    for name in ("one", "two"):
        write_team(tmp_path / name, {"planner": checkpoint, "fixer": checkpoint}, SETTINGS)
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")
    assert read_settings(tmp_path / "one") == SETTINGS.model_copy(update={"sql": SqlSettings()}), "workers are no part"
