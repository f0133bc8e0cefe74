"""A SQL run with the nearest name in place: what it becomes, and what an execution shows of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.agents.review import response_text
from mats_sql.config import SqlLimits
from mats_sql.sql import Execution, Outcome, SqlExecutor, SqlRequest
from mats_sql.sql.sandbox.nearest_names import Missing, Name
from mats_sql.sql.sandbox.with_name import with_name
from tests.sql.conftest import SMALL

SCHEMA = """
CREATE TABLE driver (id INTEGER PRIMARY KEY, name TEXT, "home town" TEXT);
CREATE TABLE truck (id INTEGER PRIMARY KEY, color1 TEXT, weight INTEGER, driver_id INTEGER);
INSERT INTO driver VALUES (1, 'Ann', 'Oslo'), (2, 'Bo', 'Rome');
INSERT INTO truck VALUES (1, 'red', 7, 2), (2, 'blue', 9, 2);
"""
COLOR = Name("truck", "color1")
TOWN = Name("driver", "home town")
KEY = Name("truck", "driver_id")
REWRITTEN = [
    ("SELECT color FROM truck ORDER BY color", "color", COLOR, "SELECT truck.color1 FROM truck ORDER BY truck.color1"),
    ("SELECT Color, 'color' FROM truck -- color", "Color", COLOR, "SELECT truck.color1, 'color' FROM truck -- color"),
    ("SELECT T.[color] FROM truck AS T", "T.color", COLOR, "SELECT T.color1 FROM truck AS T"),
    ("SELECT color(color) FROM truck", "color", COLOR, "SELECT color(truck.color1) FROM truck"),
    ("SELECT town FROM driver", "town", TOWN, "SELECT driver.`home town` FROM driver"),
    (
        "SELECT * FROM driver JOIN truck ON driver.truck_id = truck.id",
        "driver.truck_id",
        KEY,
        "SELECT * FROM driver JOIN truck ON truck.driver_id = driver.id",
    ),
    (
        "SELECT * FROM driver a JOIN truck b ON b.id = a.truck_id WHERE a.truck_id = 3",
        "a.truck_id",
        KEY,
        "SELECT * FROM driver a JOIN truck b ON a.id = b.driver_id WHERE b.driver_id = 3",
    ),
    ("SELECT trucks.id FROM trucks", Missing(True, "", "trucks"), Name("truck"), "SELECT truck.id FROM truck"),
    ("SELECT * FROM driver JOIN truck ON driver.driver_id = truck.driver_id", "driver.driver_id", KEY, None),
    ("SELECT weight FROM truck", "color", COLOR, None),
    ("SELECT color FROM driver", "color", COLOR, None),
    ("SELECT truck FROM truck", "truck", COLOR, None),
    ("SELECT T.color FROM truck AS S", "T.color", COLOR, "SELECT S.color1 FROM truck AS S"),
]
"""A SQL, what it misses, the name for it, and the SQL with that name (``None``: it does not help)."""


def column(text: str) -> Missing:
    qualifier, _, name = text.rpartition(".")
    return Missing(False, qualifier, name)


@pytest.fixture
def trucks(tmp_path: Path) -> Path:
    path = tmp_path / "trucks.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return path


def run(limits: SqlLimits, database: Path, sql: str) -> Execution:
    with SqlExecutor(limits, workers=1) as executor:
        return next(executor.execute_many([SqlRequest(database, sql)]))


@pytest.mark.parametrize(("sql", "missing", "name", "expected"), REWRITTEN)
def test_the_name_stands_wherever_the_missing_one_stood_and_a_join_turns_round_with_it(
    sql: str, missing: str | Missing, name: Name, expected: str | None
) -> None:
    assert with_name(sql, column(missing) if isinstance(missing, str) else missing, name) == expected


@given(st.text(st.sampled_from("ab.=(),' \"[`-*") | st.characters(), max_size=40))
def test_no_text_at_all_makes_it_fail_and_what_is_rewritten_names_it_no_more(text: str) -> None:
    for missing in (Missing(False, "", "a"), Missing(False, "b", "a"), Missing(True, "", "a")):
        for sql in (text, f"SELECT a, b.a FROM a, b WHERE {text}"):
            again = with_name(sql, missing, Name("b", "" if missing.table else "c"))
            assert again is None or again != sql


def test_an_answer_shows_what_lies_behind_one_error_and_the_next(trucks: Path) -> None:
    sql = "SELECT name FROM drivers JOIN truck ON drivers.id = truck.driver_id WHERE truck.color = 'RED'"
    shown = response_text(run(SMALL, trucks, sql))
    assert shown == (
        "error : no such table: drivers , nearest driver , with it error : no such column: truck.color , "
        "nearest truck.color1 , with it no rows ; truck.color1 has no 'RED' , nearest 'red' ; "
        "query : SELECT name FROM driver JOIN truck ON driver.id = truck.driver_id WHERE truck.color1 = 'RED'"
    )


def test_a_join_by_a_key_of_the_other_table_shows_the_rows_of_the_join(trucks: Path) -> None:
    shown = response_text(run(SMALL, trucks, "SELECT name FROM driver JOIN truck ON driver.truck_id = truck.id"))
    assert shown == (
        "error : no such column: driver.truck_id , nearest truck.driver_id , with it 2 rows : Bo ; Bo ; "
        "query : SELECT name FROM driver JOIN truck ON truck.driver_id = driver.id"
    )


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_no_more_errors_are_followed_than_the_limits_allow(trucks: Path, retries: int) -> None:
    limits = SMALL.model_copy(update={"nearest_retries": retries})
    execution: Execution | None = run(limits, trucks, "SELECT weight1, names, color FROM driver, truck")
    depth = -1
    while execution is not None:
        execution, depth = execution.retried, depth + 1
    assert depth == retries


def test_the_outcome_stays_an_error_and_a_look_without_names_retries_nothing(trucks: Path) -> None:
    sql = "SELECT color FROM truck"
    on, off = run(SMALL, trucks, sql), run(SMALL.model_copy(update={"nearest_values": 0}), trucks, sql)
    assert (on.outcome, on.row_count, on.digest) == (off.outcome, off.row_count, off.digest) == (Outcome.ERROR, 0, "")
    assert on.retried is not None
    assert (on.retried.outcome, on.retried.row_count, on.retried.elapsed_s) == (Outcome.ROWS, 2, 0.0)
    assert off.retried is None


def test_a_retry_that_takes_too_many_steps_shows_the_error_alone(trucks: Path) -> None:
    with closing(sqlite3.connect(trucks)) as connection:
        connection.execute("CREATE TABLE long (code TEXT)")
        connection.executemany("INSERT INTO long VALUES (?)", ([f"c{n}"] for n in range(3000)))
        connection.commit()
    limits = SMALL.model_copy(update={"max_steps": 200_000})
    execution = run(limits, trucks, "SELECT count(*) FROM long a, long b WHERE a.code1 > b.code")
    assert (execution.outcome, execution.retried) == (Outcome.ERROR, None)
    assert execution.error == "no such column: a.code1 , nearest long.code"
