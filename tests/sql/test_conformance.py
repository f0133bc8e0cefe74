"""One suite for every SQL backend: what the executor and the judge promise, on SQLite, a real PostgreSQL
and a real MariaDB."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mats_sql.config import SqlLimits
from mats_sql.errors import DatabaseError
from mats_sql.sql.compare import compare
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.executor import SqlExecutor, SqlRequest
from mats_sql.sql.judge import Judge, JudgeItem
from mats_sql.sql.server_judge import ServerJudge
from mats_sql.sql.servers import ServerExecutor
from mats_sql.sql.verdict import VerdictClass
from tests.postgres import postgres_server
from tests.sql.mariadb import mariadb_server

LIMITS = SqlLimits(timeout_s=2, max_steps=20_000_000, max_rows=50_000, max_result_bytes=8 << 20, memory_mib=512)
TABLE = [
    "CREATE TABLE hero (id INTEGER PRIMARY KEY, name TEXT, height DOUBLE PRECISION)",
    "INSERT INTO hero VALUES (1, 'Ada', 1.5), (2, 'Bo', NULL), (3, NULL, 2)",
    "CREATE TABLE many (i INTEGER)",
    "INSERT INTO many WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 1000) SELECT i FROM r",
]
SERVERS = {"postgresql": postgres_server, "mariadb": mariadb_server}


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of database, its executor and judge, the name of one database, and the URL of a server."""

    kind: str
    executor: SqlExecutor | ServerExecutor
    judge: Judge | ServerJudge
    database: Path
    url: str = ""

    def run(self, *sqls: str) -> list[Execution]:
        return list(self.executor.execute_many(SqlRequest(self.database, sql) for sql in sqls))


@pytest.fixture(scope="module", params=["sqlite", *SERVERS])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("conformance") / "hero.sqlite"
        with sqlite3.connect(path) as connection:
            for statement in TABLE:
                connection.execute(statement)
        connection.close()
        with SqlExecutor(LIMITS, 2) as executor, Judge(executor, None) as judge:
            yield Backend(request.param, executor, judge, path)
        return
    with SERVERS[request.param]() as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in [*TABLE, "CREATE SEQUENCE counter"]:
                connection.execute(text(statement))
        engine.dispose()
        with ServerExecutor(url, LIMITS, 2) as executor:
            yield Backend(request.param, executor, ServerJudge(executor), Path("hero"), url)


@pytest.fixture
def server(backend: Backend) -> Backend:
    if backend.kind == "sqlite":
        pytest.skip("SQLite has no server")
    return backend


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
        ("CREATE TEMPORARY TABLE x (a INTEGER)", Outcome.REFUSED),
        ("BEGIN", Outcome.REFUSED),
        ("COMMIT", Outcome.REFUSED),
        ("ROLLBACK", Outcome.REFUSED),
        ("SELECT sum(a.i + b.i - c.i) FROM many a, many b, many c WHERE a.i <> b.i", Outcome.TIMEOUT),
        ("SELECT a.i, b.i FROM many a, many b", Outcome.TOO_BIG),
        ("SELECT 1 FROM many a, many b, many c", Outcome.TOO_BIG),
    ],
)
def test_outcomes_are_the_same_on_every_backend(backend: Backend, sql: str, outcome: Outcome) -> None:
    if sql == "SELECT" and backend.kind != "postgresql":
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
        ("SELECT nothing", None, "error error error"),
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
    pairs = [(gold, sql) for gold in sqls for sql in [*sqls, "SELEC 1"]]
    items = [JudgeItem(backend.database, gold, sql) for gold, sql in pairs]
    done = dict(zip([*sqls, "SELEC 1"], backend.run(*sqls, "SELEC 1"), strict=True))
    assert [compare(done[gold], done[sql]) for gold, sql in pairs] == list(backend.judge.judge_many(items))


WRITING = {
    "postgresql": [
        "SELECT nextval('counter')",
        "WITH x AS (DELETE FROM hero RETURNING id) SELECT * FROM x",
        "SELECT * INTO x FROM hero",
    ],
    "mariadb": [
        "SELECT NEXTVAL(counter)",
        "SELECT SETVAL(counter, 7)",
        "CREATE TEMPORARY TABLE hero (id INTEGER)",
        "/**/ CREATE TEMPORARY TABLE hero /**/ SELECT 1 AS id",
        "/*! CREATE TEMPORARY TABLE hero */ SELECT 1 AS id",
        "/*M! SET STATEMENT max_statement_time = 0 FOR */ SELECT sleep(60)",
        "SET STATEMENT max_statement_time = 0 FOR SELECT sleep(60)",
        "SET autocommit = 1",
        "SELECT 1 INTO @kept",
        "SELECT 1 INTO OUTFILE '/tmp/mats-sql-written'",
        "SELECT 1 INTO/**/OUTFILE '/tmp/mats-sql-written'",
        "SELECT 1 /*! INTO */ DUMPFILE '/tmp/mats-sql-written'",
        "PREPARE x FROM 'DROP TABLE hero'",
        "EXECUTE IMMEDIATE 'DROP TABLE hero'",
        "LOCK TABLES hero WRITE",
        "XA START 'x'",
        "DO sleep(60)",
        "KILL CONNECTION_ID()",
    ],
}


def test_what_a_server_could_do_besides_reading_is_refused(server: Backend) -> None:
    tables = ("SELECT * FROM hero", "SELECT * FROM counter")
    before = [table.digest for table in server.run(*tables)]
    found = dict(zip(WRITING[server.kind], server.run(*WRITING[server.kind]), strict=True))
    assert {sql: execution for sql, execution in found.items() if execution.outcome is not Outcome.REFUSED} == {}
    assert [table.digest for table in server.run(*tables)] == before


KEPT = {
    "postgresql": [
        ("SELECT pg_advisory_lock(7)", "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'"),
        ("SELECT set_config('mats.kept', '7', false)", "SELECT coalesce(current_setting('mats.kept', true), '') = ''"),
    ],
    "mariadb": [
        ("SELECT get_lock('mine', 0)", "SELECT is_free_lock('mine')"),
        ("SELECT @kept := 7", "SELECT @kept IS NULL"),
    ],
}


def test_what_a_session_keeps_ends_with_its_sql(server: Backend) -> None:
    for sql, look in KEPT[server.kind]:
        assert server.run(sql)[0].outcome is Outcome.ROWS
        assert {execution.preview for execution in server.run(*[look] * 4)} == {((1,),)}, look


def test_rows_of_large_values_are_too_big(server: Backend) -> None:
    (execution,) = server.run("SELECT repeat('x', 1000000) FROM many")
    assert execution.outcome is Outcome.TOO_BIG


NAPS = {
    "postgresql": "SELECT set_config('statement_timeout', '0', true), pg_sleep(60)",
    "mariadb": "SELECT sleep(60)",
}
LEFT = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity"
    " WHERE query LIKE '%{}%' AND pid <> pg_backend_pid() AND state = 'active'",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%{}%' AND id <> connection_id()",
}


def test_a_result_that_is_too_big_is_cancelled_on_the_server(server: Backend) -> None:
    with ServerExecutor(server.url, LIMITS.model_copy(update={"timeout_s": 3600.0}), 1) as executor:
        (execution,) = executor.execute_many([SqlRequest(server.database, "SELECT 1 FROM many a, many b, many c")])
    assert execution.outcome is Outcome.TOO_BIG
    assert server.run(LEFT[server.kind].format("many c"))[0].preview == ((0,),)


def test_a_text_of_nothing_but_comments_is_an_error(server: Backend) -> None:
    (execution,) = server.run("/* */" * 20_000 + "x")
    assert execution.outcome is Outcome.ERROR


def test_a_statement_past_its_time_is_cancelled_on_the_server(server: Backend) -> None:
    (execution,) = server.run(NAPS[server.kind])
    assert execution.outcome is Outcome.TIMEOUT
    assert server.run(LEFT[server.kind].format("sleep(60)"))[0].preview == ((0,),)


def test_a_session_that_ends_itself_costs_one_error_only(server: Backend) -> None:
    if server.kind != "postgresql":
        pytest.skip("only PostgreSQL has a function for it")
    killed, after = server.run("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")
    assert killed.outcome is Outcome.ERROR
    assert after.preview == ((1,),)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://nobody@/hero?host=/nowhere",
        "mysql+pymysql://nobody@localhost/hero?unix_socket=/nowhere",
    ],
)
def test_a_server_that_is_not_there_is_a_database_error(url: str) -> None:
    with ServerExecutor(url, LIMITS, 1) as executor, pytest.raises(DatabaseError, match="must be reachable"):
        list(executor.execute_many([SqlRequest(Path("hero"), "SELECT 1")]))


def test_every_verdict_class_is_an_outcome_or_a_comparison() -> None:
    assert {outcome.value for outcome in Outcome} - {"rows", "empty"} <= {verdict.value for verdict in VerdictClass}
