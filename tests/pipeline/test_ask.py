"""`mats-sql ask`: a registered team answers about files and servers, and every bad input is one line."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from mats_sql.cli import commands
from mats_sql.rollout.sample import Source
from mats_sql.team.flow import Task
from mats_sql.tracking.promotion import promote
from mats_sql.tracking.registry import Version
from mats_sql.tracking.store import connect
from mats_sql.tracking.team_model import TeamModel
from tests.postgres import postgres_server
from tests.tracking.restored_environment import registered_team


@dataclass(frozen=True)
class Place:
    """A store with a champion, and the config of its experiment."""

    config: Path
    version: Version
    team: Path

    def ask(self, question: str, database: str, *options: str) -> Result:
        arguments = ["ask", question, "--database", database, "--config", str(self.config), *options]
        return CliRunner().invoke(commands, arguments)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("ask")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.chdir(folder)
        store = connect("restored", folder / "work")
        version = registered_team(store)
        promote(store, version, "the first")
        (folder / "experiment.yaml").write_text(yaml.safe_dump({"name": "restored", "work_dir": str(folder / "work")}))
        source = store.client.get_model_version(version.name, str(version.number)).source
        model = store.client.get_logged_model(source.removeprefix("models:/"))
        yield Place(folder / "experiment.yaml", version, Path(model.artifact_location) / "team")


@pytest.fixture(scope="module")
def task(source: Source) -> Task:
    return next(iter(source.tasks.values()))


def test_the_answer_shows_every_turn_and_the_rows_and_leaves_the_file_as_it_was(place: Place, task: Task) -> None:
    before = hashlib.sha256(task.database.read_bytes()).hexdigest()
    done = place.ask(task.question.text, str(task.database), "--evidence", task.question.evidence)
    assert done.exit_code == 0, done.output
    turns = ["== plan 1:", "Final SQL query:", "-- select validator:", "-- condition validator:", "== plan 2:"]
    places = [done.output.index(turn) for turn in (*turns, "== candidates", "== answer")]
    assert places == sorted(places)
    asked = pd.DataFrame(
        [{"question": task.question.text, "database": str(task.database), "evidence": task.question.evidence}]
    )
    served = TeamModel(place.team).predict(asked).iloc[0]
    sql, _, rows = done.output[places[-1] :].removeprefix("== answer\n").partition("\n┏")
    assert sql == served["sql"]
    with closing(sqlite3.connect(task.database)) as connection:
        found = connection.execute(served["sql"]).fetchall()
    assert all(str(value) in rows for row in found[:100] for value in row)
    assert f"{len(found)} row" in rows
    assert hashlib.sha256(task.database.read_bytes()).hexdigest() == before


def assert_one_line(done: Result, saying: str) -> None:
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert saying in line


def test_a_missing_or_broken_database_is_one_line(place: Place, tmp_path: Path) -> None:
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 100)
    assert_one_line(place.ask("How many?", str(tmp_path / "nowhere.sqlite")), "nowhere.sqlite")
    assert_one_line(place.ask("How many?", str(tmp_path / "broken.sqlite")), "broken.sqlite is not")
    assert_one_line(place.ask("How many?", "postgresql://reader@127.0.0.1:9/hero"), "127.0.0.1:9/hero")
    assert_one_line(place.ask("How many?", "oracle://host/hero"), "PostgreSQL, MySQL or MariaDB")


def test_an_unknown_model_is_one_line(place: Place, task: Task) -> None:
    for model in ("models:/restored.team/9", "models:/nobody.team@champion", "nobody"):
        assert_one_line(place.ask("How many?", str(task.database), "--model", model), model)


def test_a_database_that_cannot_be_read_fails_its_own_rows_of_predict(place: Place, task: Task, tmp_path: Path) -> None:
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(task.database.read_bytes()[:-4096])
    files = [str(task.database), str(tmp_path / "nowhere.sqlite"), str(cut), "oracle://host/hero"]
    model = TeamModel(place.team)
    answers = model.predict(pd.DataFrame({"question": [task.question.text] * 4, "database": files}))
    assert list(answers["outcome"][1:]) == ["error"] * 3
    assert all(
        cause in error for cause, error in zip(("nowhere", "bytes", "PostgreSQL"), answers["error"][1:], strict=True)
    )
    alone = model.predict(pd.DataFrame({"question": [task.question.text], "database": files[:1]}))
    assert answers.iloc[0].equals(alone.iloc[0].rename(0))
    assert answers["sql"][0]


@pytest.fixture(scope="module")
def server(task: Task) -> Iterator[str]:
    """A PostgreSQL with the tables of the task's file."""
    with postgres_server() as url:
        engine = create_engine(url)
        with closing(sqlite3.connect(task.database)) as file, engine.begin() as connection:
            tables = file.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
            for name, statement in tables:
                bare = re.sub(
                    r", FOREIGN KEY \(\w+\) REFERENCES \w+ \(\w+\)", "", statement
                )  # tables come in any order
                connection.execute(text(bare.replace("`", '"')))
                for row in file.execute(f'SELECT * FROM "{name}"').fetchall():
                    named = {f"v{index}": value for index, value in enumerate(row)}
                    values = ", ".join(f":{key}" for key in named)
                    connection.execute(text(f'INSERT INTO "{name}" VALUES ({values})'), named)
        engine.dispose()
        yield url


def test_a_question_about_a_server_is_answered_from_the_server(
    place: Place, task: Task, source: Source, server: str
) -> None:
    with closing(sqlite3.connect(task.database)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    asked = [
        (one.question.text, one.question.evidence) for one in source.tasks.values() if one.database == task.database
    ]
    asked += [(f"How many {table}s are there?", "") for table in tables]  # what any planner answers
    table = pd.DataFrame(asked, columns=["question", "evidence"])
    answers = TeamModel(place.team).predict(table.assign(database=server))
    ran = answers["outcome"] == "rows"
    assert ran.any(), answers.to_string()
    first = int(ran.to_numpy().argmax())
    question, evidence = asked[first]
    done = place.ask(question, server, "--evidence", evidence)
    assert done.exit_code == 0, done.output
    sql = str(answers["sql"][first])
    assert f"== answer\n{sql}\n" in done.output
    engine = create_engine(server)
    with engine.connect() as connection:
        count = len(connection.execute(text(sql)).fetchall())
    engine.dispose()
    assert f"{count} row" in done.output.splitlines()[-1]
