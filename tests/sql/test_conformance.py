"""One suite for every SQL backend: what the executor and the judge promise, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mats_sql.config import SqlLimits
from mats_sql.errors import DatabaseError
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.executor import SqlExecutor, SqlRequest
from mats_sql.sql.judge import Judge, JudgeItem
from mats_sql.sql.servers import Executor, ServerExecutor, ServerJudge
from mats_sql.sql.verdict import VerdictClass
from tests.sql.postgres import postgres_server

LIMITS = SqlLimits(timeout_s=2, max_steps=20_000_000, max_rows=50_000, max_result_bytes=8 << 20, memory_mib=512)
TABLE = [
    "CREATE TABLE hero (id INTEGER PRIMARY KEY, name TEXT, height DOUBLE PRECISION)",
    "INSERT INTO hero VALUES (1, 'Ada', 1.5), (2, 'Bo', NULL), (3, NULL, 2)",
    "CREATE TABLE many (i INTEGER)",
    "INSERT INTO many WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 1000) SELECT i FROM r",
]


@dataclass(frozen=True, slots=True)
class Backend:
    """An executor, a judge, and the name of their database."""

    executor: Executor
    judge: Judge | ServerJudge
    database: Path

    def run(self, *sqls: str) -> list[Execution]:
        return list(self.executor.execute_many(SqlRequest(self.database, sql) for sql in sqls))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("conformance") / "hero.sqlite"
        with sqlite3.connect(path) as connection:
            for statement in TABLE:
                connection.execute(statement)
        connection.close()
        with SqlExecutor(LIMITS, 2) as executor, Judge(executor, None) as judge:
            yield Backend(executor, judge, path)
        return
    with postgres_server() as url:
        engine = create_engine(url.replace("{database}", "hero"))
        with engine.begin() as connection:
            for statement in TABLE:
                connection.execute(text(statement))
        engine.dispose()
        with ServerExecutor(url, LIMITS, 2) as executor:
            yield Backend(executor, ServerJudge(executor), Path("hero"))


@pytest.mark.parametrize(
    ("sql", "outcome"),
    [
        ("SELECT 1", Outcome.ROWS),
        ("SELECT 1;", Outcome.ROWS),
        ("-- first\nSELECT 1 -- last", Outcome.ROWS),
        ("SELECT '100%', 'a:b', '%s'", Outcome.ROWS),
        ("WITH x AS (SELECT 1 AS a) SELECT * FROM x", Outcome.ROWS),
        ("VALUES (1), (2)", Outcome.ROWS),
        ("SELECT * FROM hero WHERE id > 7", Outcome.EMPTY),
        ("SELECT", Outcome.ROWS),
        ("SELEC 1", Outcome.ERROR),
        ("SELECT nothing FROM hero", Outcome.ERROR),
        ("SELECT * FROM nowhere", Outcome.ERROR),
        ("SELECT 1; SELECT 2", Outcome.ERROR),
        ("SELECT 1; DROP TABLE hero", Outcome.ERROR),
        ("SELECT 1; COMMIT; DROP TABLE hero", Outcome.ERROR),
        ("SELECT 1; SET default_transaction_read_only = off; COMMIT; DROP TABLE hero", Outcome.ERROR),
        ("INSERT INTO hero VALUES (9, 'x', 1)", Outcome.REFUSED),
        ("INSERT INTO hero VALUES (9, 'x', 1) RETURNING id", Outcome.REFUSED),
        ("UPDATE hero SET name = 'x'", Outcome.REFUSED),
        ("DELETE FROM hero", Outcome.REFUSED),
        ("DROP TABLE hero", Outcome.REFUSED),
        ("CREATE TABLE x (a INTEGER)", Outcome.REFUSED),
        ("CREATE TEMP TABLE x (a INTEGER)", Outcome.REFUSED),
        ("BEGIN", Outcome.REFUSED),
        ("COMMIT", Outcome.REFUSED),
        ("ROLLBACK", Outcome.REFUSED),
        ("SELECT sum(a.i + b.i - c.i) FROM many a, many b, many c WHERE a.i <> b.i", Outcome.TIMEOUT),
        ("SELECT a.i, b.i FROM many a, many b", Outcome.TOO_BIG),
        ("SELECT 1 FROM many a, many b, many c", Outcome.TOO_BIG),
    ],
)
def test_outcomes_are_the_same_on_every_backend(backend: Backend, sql: str, outcome: Outcome) -> None:
    if sql == "SELECT" and isinstance(backend.executor, SqlExecutor):
        pytest.skip("an empty select list is PostgreSQL's")
    before, execution, after = backend.run("SELECT * FROM hero ORDER BY id", sql, "SELECT * FROM hero ORDER BY id")
    assert execution.outcome is outcome, execution
    assert before.ordered_digest == after.ordered_digest != ""
    assert bool(execution.error) is not execution.ran
    assert execution.elapsed_s < LIMITS.timeout_s + 3


def test_results_have_columns_preview_counts_and_digests(backend: Backend) -> None:
    found, reverse = backend.run(*(f"SELECT id, name, height FROM hero ORDER BY id {way}" for way in ("ASC", "DESC")))
    assert (found.columns, found.row_count) == (("id", "name", "height"), 3)
    assert found.preview == ((1, "Ada", 1.5), (2, "Bo", None), (3, None, 2.0))
    assert found.digest == reverse.digest != ""
    assert found.multiset_digest == reverse.multiset_digest != ""
    assert found.ordered_digest != reverse.ordered_digest != ""


def test_equal_results_have_equal_digests_on_every_backend(backend: Backend) -> None:
    executions = backend.run("SELECT 1, 'a', NULL", "SELECT 1.0, 'a', NULL", "SELECT 1, 'b', NULL")
    assert executions[0].digest == executions[1].digest != executions[2].digest


def test_answers_come_in_request_order(backend: Backend) -> None:
    sqls = [f"SELECT {number}" for number in range(200)]
    assert [execution.preview[0][0] for execution in backend.run(*sqls)] == list(range(200))


@pytest.mark.parametrize(
    ("gold", "sql", "verdicts"),
    [
        ("SELECT 1", "SELECT 1.0", "correct correct correct"),
        ("SELECT id FROM hero ORDER BY id", "SELECT id FROM hero ORDER BY id DESC", "correct correct wrong"),
        ("SELECT 1 UNION ALL SELECT 1", "SELECT 1", "correct wrong wrong"),
        ("SELECT 1", "SELECT 2", "wrong wrong wrong"),
        ("SELECT 1", "SELECT nothing", "error error error"),
        ("SELECT 1", "DROP TABLE hero", "refused refused refused"),
        ("SELECT nothing", "SELECT 1", "gold_unavailable gold_unavailable gold_unavailable"),
        ("SELECT 1", None, "error error error"),
    ],
)
def test_verdicts_are_the_same_on_every_backend(backend: Backend, gold: str, sql: str | None, verdicts: str) -> None:
    item = JudgeItem(backend.database, gold, sql)
    ((_, whole),) = backend.judge.execute_and_judge([item])
    (found,) = backend.judge.judge_many([item])
    assert f"{found.official} {found.multiset} {found.ordered}" == verdicts
    assert (whole.official, whole.multiset, whole.ordered) == (found.official, found.multiset, found.ordered)


def test_comparing_digests_gives_the_verdicts_of_comparing_rows(backend: Backend) -> None:
    sqls = ["SELECT i FROM many", "SELECT i FROM many ORDER BY i DESC", "SELECT DISTINCT i / 2 FROM many", "SELECT 1"]
    items = [JudgeItem(backend.database, gold, sql) for gold in sqls for sql in [*sqls, "SELEC 1"]]
    assert list(ServerJudge(backend.executor).judge_many(items)) == list(backend.judge.judge_many(items))


def test_a_statement_past_its_time_is_cancelled_on_the_server(backend: Backend) -> None:
    if isinstance(backend.executor, SqlExecutor):
        pytest.skip("SQLite has no server")
    slow = "SELECT set_config('statement_timeout', '0', true), pg_sleep(60)"
    (execution,) = backend.run(slow)
    assert execution.outcome is Outcome.TIMEOUT
    left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    assert backend.run(left + " AND state = 'active'")[0].preview == ((0,),)


def test_a_session_that_ends_itself_costs_one_error_only(backend: Backend) -> None:
    if isinstance(backend.executor, SqlExecutor):
        pytest.skip("SQLite has no sessions")
    killed, after = backend.run("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")
    assert killed.outcome is Outcome.ERROR
    assert after.preview == ((1,),)


def test_a_server_that_is_not_there_is_a_database_error() -> None:
    with (
        ServerExecutor("postgresql+psycopg2://nobody@/{database}?host=/nowhere", LIMITS, 1) as executor,
        pytest.raises(DatabaseError, match="must be reachable"),
    ):
        list(executor.execute_many([SqlRequest(Path("hero"), "SELECT 1")]))


def test_every_verdict_class_is_an_outcome_or_a_comparison() -> None:
    assert {outcome.value for outcome in Outcome} - {"rows", "empty"} <= {verdict.value for verdict in VerdictClass}
