"""Untrusted SQL: every hostile case has its outcome, and nothing outside it notices."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from mats_sql.config import SqlLimits
from mats_sql.digests import digest_file
from mats_sql.errors import ConfigError, DatabaseError
from mats_sql.sql.database import DatabaseFile, look_at
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.executor import SqlExecutor, SqlRequest
from mats_sql.sql.sandbox.workers import SqlBatch
from tests.sql.conftest import SMALL
from tests.sql.hostile_cases import ONE_OPERATION, hostile_cases

CASES = hostile_cases()


def run(executor: SqlExecutor, database: Path, *sqls: str) -> list[Execution]:
    return list(executor.execute_many(SqlRequest(database, sql) for sql in sqls))


@pytest.fixture(scope="module")
def outcomes(odd_database: Path) -> dict[str, Execution]:
    """Run the whole corpus once, in one executor; check what must hold for all of it."""
    before = digest_file(odd_database), sorted(odd_database.parent.iterdir())
    with SqlExecutor(SMALL, workers=2) as executor:
        executions = run(executor, odd_database, *(sql for sql, _ in CASES))
        assert run(executor, odd_database, "SELECT 1")[0].preview == ((1,),), "the workers survive"
        assert all(_peak_mib(process) <= SMALL.memory_mib for process in executor.processes.process_ids)
        processes = executor.processes.process_ids
    assert (digest_file(odd_database), sorted(odd_database.parent.iterdir())) == before
    assert not Path("/tmp/mats_sql_hostile.db").exists()
    assert not any(Path(f"/proc/{process}").exists() for process in processes), "no worker is left behind"
    return {sql: execution for (sql, _), execution in zip(CASES, executions, strict=True)}


def _peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmPeak:")[1].split()[0]) / 1024


def test_the_corpus_is_large_and_has_every_outcome() -> None:
    assert len(CASES) >= 250
    assert set(Counter(outcome for _, outcome in CASES)) == set(Outcome)
    assert len({sql for sql, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(("sql", "expected"), CASES, ids=[f"{o}-{s[:40]!r}" for s, o in CASES])
def test_hostile_sql_has_its_outcome(sql: str, expected: Outcome, outcomes: dict[str, Execution]) -> None:
    execution = outcomes[sql]
    assert execution.outcome is expected, execution
    assert execution.elapsed_s < 60, "stopped at all, however little of the machine it had"
    assert bool(execution.error) is not execution.ran
    assert "\n" not in execution.error


def test_steps_end_a_query_long_before_the_clock_does(outcomes: dict[str, Execution]) -> None:
    assert "steps" in outcomes["SELECT count(*) FROM many a, many b, many c"].error


def test_a_worker_stuck_in_one_operation_is_replaced_and_the_rest_is_answered(odd_database: Path) -> None:
    with SqlExecutor(SqlLimits(timeout_s=0.2), workers=1) as executor:
        found = run(executor, odd_database, "SELECT 1", ONE_OPERATION[0], "SELECT 2")
    assert [execution.outcome for execution in found] == [Outcome.ROWS, Outcome.TIMEOUT, Outcome.ROWS]


def test_a_killed_worker_costs_no_answer(odd_database: Path) -> None:
    with SqlExecutor(SMALL, workers=1) as executor:
        run(executor, odd_database, "SELECT 1")
        os.kill(executor.processes.process_ids[0], signal.SIGKILL)
        assert run(executor, odd_database, "SELECT 2")[0].preview == ((2,),)


def test_a_worker_that_must_wait_for_the_processor_loses_no_time(odd_database: Path) -> None:
    busy = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT max(i) FROM n"
    with SqlExecutor(SqlLimits(timeout_s=3), workers=1) as executor:
        run(executor, odd_database, "SELECT 1")
        worker = executor.processes.process_ids[0]
        pauses = [threading.Timer(0.05, os.kill, (worker, signal.SIGSTOP))]
        pauses.append(threading.Timer(4.0, os.kill, (worker, signal.SIGCONT)))
        for pause in pauses:
            pause.start()
        (found,) = run(executor, odd_database, busy)
        for pause in pauses:
            pause.join()
    assert found.outcome is Outcome.ROWS
    assert found.elapsed_s > 3


def test_a_worker_that_gives_no_sign_is_given_up(odd_database: Path) -> None:
    with SqlExecutor(SqlLimits(timeout_s=0.2), workers=1) as executor:
        run(executor, odd_database, "SELECT 1")
        os.kill(executor.processes.process_ids[0], signal.SIGSTOP)
        found = run(executor, odd_database, "SELECT 2", "SELECT 3")
    assert [execution.outcome for execution in found] == [Outcome.TIMEOUT, Outcome.ROWS]


def test_answers_come_in_request_order_whatever_the_workers(odd_database: Path) -> None:
    sqls = [f"SELECT {number % 700}" for number in range(5000)]
    with SqlExecutor(SMALL, workers=3) as executor:
        found = run(executor, odd_database, *sqls)
    assert [execution.preview[0][0] for execution in found] == [number % 700 for number in range(5000)]


def test_a_large_result_has_a_short_preview_and_whole_counts(executor: SqlExecutor, odd_database: Path) -> None:
    (found,) = run(executor, odd_database, "SELECT i, printf('%.*c', 5000, 'x') FROM many")
    assert found.row_count == 1000
    assert len(found.preview) == SMALL.preview_rows
    assert len(str(found.preview[0][1])) == 1000


def test_column_names_are_given_even_without_rows(executor: SqlExecutor, odd_database: Path) -> None:
    (found,) = run(executor, odd_database, "SELECT id AS x, name AS x FROM hero WHERE 0")
    assert (found.outcome, found.columns) == (Outcome.EMPTY, ("x", "x"))


@pytest.mark.parametrize(
    ("left", "right", "same", "same_ordered"),
    [
        ("SELECT 1", "SELECT 1.0", True, True),
        ("SELECT 0", "SELECT -0.0", True, True),
        ("SELECT NULL", "SELECT NULL", True, True),
        ("SELECT '1'", "SELECT 1", False, False),
        ("SELECT 'a'", "SELECT x'61'", False, False),
        ("SELECT 9007199254740993", "SELECT 9007199254740992.0", False, False),
        ("SELECT 1 UNION ALL SELECT 2", "SELECT 2 UNION ALL SELECT 1", True, False),
        ("SELECT 1 UNION ALL SELECT 1", "SELECT 1", True, False),
        ("SELECT 1, 2", "SELECT 2, 1", False, False),
        ("SELECT 1 AS a", "SELECT 1 AS b", True, True),
        ("SELECT 1 WHERE 0", "SELECT 2 WHERE 0", True, True),
        ("SELECT 1 WHERE 0", "SELECT NULL", False, False),
        ("SELECT 'a', 'b'", "SELECT 'a'', ''b'", False, False),
    ],
)
def test_digests_agree_exactly_when_bird_would(
    executor: SqlExecutor, odd_database: Path, left: str, right: str, same: bool, same_ordered: bool
) -> None:
    one, other = run(executor, odd_database, left, right)
    assert (one.digest == other.digest) is same
    assert (one.ordered_digest == other.ordered_digest) is same_ordered


def test_a_missing_file_is_a_database_error(executor: SqlExecutor, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="readable file"):
        run(executor, tmp_path / "nowhere.sqlite", "SELECT 1")


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\0" * 84 + b"x" * 5000])
def test_a_file_that_is_no_database_is_a_database_error(executor: SqlExecutor, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.sqlite"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match="database must be"):
        run(executor, path, "SELECT 1")


def test_a_database_cut_short_is_a_database_error(executor: SqlExecutor, odd_database: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.sqlite"
    path.write_bytes(odd_database.read_bytes()[:-5000])
    with pytest.raises(DatabaseError, match="whole"):
        run(executor, path, "SELECT 1")


def test_damage_inside_a_database_is_an_error_and_never_a_verdict(executor: SqlExecutor, tmp_path: Path) -> None:
    path = tmp_path / "damaged.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 900,)] * 200)
    connection.close()
    content = bytearray(path.read_bytes())
    content[5 * 4096 : 20 * 4096] = b"\xff" * (15 * 4096)
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"damaged\.sqlite"):
        run(executor, path, "SELECT count(a), max(a) FROM t")
    assert run(executor, path, "SELECT 1")[0].preview == ((1,),)


def test_an_unmerged_write_ahead_log_is_a_database_error(executor: SqlExecutor, tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    with pytest.raises(DatabaseError, match="wal_checkpoint"):
        run(executor, path, "SELECT 1")
    connection.close()


def test_a_replaced_database_is_read_anew(executor: SqlExecutor, tmp_path: Path) -> None:
    path = tmp_path / "changing.sqlite"
    for rows in (1, 2):
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE t (a)")
            connection.executemany("INSERT INTO t VALUES (?)", [(row,) for row in range(rows)])
        connection.close()
        os.utime(path, ns=(rows, rows))
        assert run(executor, path, "SELECT count(*) FROM t")[0].preview == ((rows,),)


def test_a_path_with_odd_characters_opens(executor: SqlExecutor, odd_database: Path, tmp_path: Path) -> None:
    path = tmp_path / "a ?b#c%20&d'\u00e9.sqlite"
    path.write_bytes(odd_database.read_bytes())
    assert run(executor, path, "SELECT count(*) FROM hero")[0].preview == ((4,),)


def test_a_worker_that_cannot_start_is_a_config_error(odd_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with SqlExecutor(SMALL, workers=1) as executor, pytest.raises(ConfigError, match="must start"):
        run(executor, odd_database, "SELECT 1")


def test_a_second_use_before_the_first_has_ended_is_refused(odd_database: Path) -> None:
    with SqlExecutor(SMALL, workers=1) as executor:
        first = executor.processes.run(_Endless(odd_database))
        next(first)
        with pytest.raises(RuntimeError, match="one run"):
            run(executor, odd_database, "SELECT 1")
        first.close()
        assert run(executor, odd_database, "SELECT 1")[0].ran


class _Endless:
    def __init__(self, database: Path) -> None:
        self.database = look_at(database)

    def take(self, _last: DatabaseFile | None) -> SqlBatch:
        return SqlBatch(self.database, ["SELECT 1"], True)
