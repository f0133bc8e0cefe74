"""Verdicts: BIRD's rule under generated tables, the same in every mode, kept once made."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mats_sql.config import SqlLimits
from mats_sql.errors import DatabaseError, StageInputError
from mats_sql.sql.execution import Outcome
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from mats_sql.sql.verdict import Judgement, VerdictClass
from tests.sql.conftest import SMALL
from tests.sql.hostile_cases import hostile_cases

V = VerdictClass
SLOW = (Outcome.TIMEOUT, Outcome.TOO_BIG)
"""Outcomes that the clock of a slow machine may turn into one another."""
Value = None | int | float | str | bytes
Table = list[tuple[Value, ...]]

VALUES = st.one_of(
    st.none(),
    st.sampled_from([0, 1, 2, 0.0, 1.0, -0.0, 0.5, "", "1", "a", "A", b"a", b"", 2**53, 2**53 + 1, float(2**53)]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    st.binary(max_size=4),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, Table]:
    """Two tables of few rows, the second often a rearrangement of the first."""
    width = draw(st.integers(1, 3))
    row = st.tuples(*[VALUES] * width)
    left = draw(st.lists(row, max_size=6))
    changed = [draw(st.permutations(left)), left + left[:1], left[:-1], left, sorted(set(left), key=repr)]
    right = draw(st.one_of(st.sampled_from(changed), st.lists(row, max_size=6)))
    return left, right


def select(rows: Table) -> str:
    """Return SQL whose result is exactly these rows."""
    if not rows:
        return "SELECT 1 WHERE 0"
    return "SELECT * FROM (VALUES " + ", ".join(f"({', '.join(map(literal, row))})" for row in rows) + ")"


def literal(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return {float("inf"): "9e999", float("-inf"): "-9e999"}.get(value, repr(value))
    return f"({value + 1} - 1)" if value == -(2**63) else str(value)


def judge_one(judge: Judge, database: Path, gold: str, sql: str | None) -> Judgement:
    return next(judge.judge_many([JudgeItem(database, gold, sql)]))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs=st.lists(tables(), min_size=1, max_size=40))
def test_the_three_readings_are_set_multiset_and_list_equality(
    judge: Judge, odd_database: Path, pairs: list[tuple[Table, Table]]
) -> None:
    connection = sqlite3.connect(":memory:")
    items = [JudgeItem(odd_database, select(gold), select(sql)) for gold, sql in pairs]
    judged = list(judge.judge_many(items))
    whole = list(judge.execute_and_judge(items))
    golds = list(judge.execute_gold(items))
    for item, found, (execution, same), gold in zip(items, judged, whole, golds, strict=True):
        left, right = (connection.execute(sql or "").fetchall() for sql in (item.gold_sql, item.sql))
        expected = (set(left) == set(right), Counter(left) == Counter(right), left == right)
        assert tuple(verdict is V.CORRECT for verdict in (found.official, found.multiset, found.ordered)) == expected
        assert same == found
        assert (execution.digest == gold.digest, execution.ordered_digest == gold.ordered_digest) == expected[::2]
        assert execution.row_count == len(right)


def test_judging_only_and_executing_whole_give_the_same_judgements(odd_database: Path) -> None:
    golds = ["SELECT i FROM many", "SELECT name FROM hero", "SELECT 1 WHERE 0", "SELECT count(*) FROM hero"]
    cases = [sql for sql, outcome in hostile_cases() if outcome not in SLOW]
    items = [JudgeItem(odd_database, gold, sql) for gold in golds for sql in cases]
    with SqlExecutor(SMALL, workers=2) as executor, Judge(executor, None) as one, Judge(executor, None) as other:
        judged = list(one.judge_many(items))
        whole = [judgement for _, judgement in other.execute_and_judge(items)]
    different = [(i.sql, a, b) for i, a, b in zip(items, judged, whole, strict=True) if a != b]
    assert different == []


@pytest.mark.parametrize(
    ("gold", "sql", "expected"),
    [
        ("SELECT 1", "SELECT 1", V.CORRECT),
        ("SELECT 1", "SELECT 1.0", V.CORRECT),
        ("SELECT 1", "SELECT '1'", V.WRONG),
        ("SELECT NULL", "SELECT NULL", V.CORRECT),
        ("SELECT 1, 2", "SELECT 2, 1", V.WRONG),
        ("SELECT 1 AS a", "SELECT 1 AS b", V.CORRECT),
        ("SELECT 1 WHERE 0", "", V.CORRECT),
        ("SELECT 1 WHERE 0", "-- nothing", V.CORRECT),
        ("SELECT 1", "", V.WRONG),
        ("SELECT 1", None, V.ERROR),
        ("SELECT 1", "SELECT nothing", V.ERROR),
        ("SELECT 1 WHERE 0", "DROP TABLE hero", V.REFUSED),
        ("SELECT 1", "SELECT count(*) FROM many a, many b, many c", V.TIMEOUT),
        ("SELECT 1", "SELECT 1 FROM many a, many b, many c", V.TOO_BIG),
        ("SELECT 1", "SELECT c.i FROM many a, many b, many c", V.WRONG),
        ("SELECT 1", "SELECT zeroblob(900000000)", V.TOO_BIG),
        ("SELECT nothing", "SELECT nothing", V.GOLD_UNAVAILABLE),
        ("DROP TABLE hero", "SELECT 1", V.GOLD_UNAVAILABLE),
        ("SELECT 1; SELECT 2", "SELECT 1", V.GOLD_UNAVAILABLE),
    ],
)
def test_every_verdict_class(judge: Judge, odd_database: Path, gold: str, sql: str | None, expected: V) -> None:
    found = judge_one(judge, odd_database, gold, sql)
    assert found.official is expected
    assert (found.multiset is V.CORRECT) <= (found.official is V.CORRECT)


def test_a_wrong_first_row_is_enough_even_where_the_rest_would_never_end(judge: Judge, odd_database: Path) -> None:
    endless = "WITH RECURSIVE r(i) AS (SELECT 7 UNION ALL SELECT i + 1 FROM r) SELECT i FROM r"
    assert judge_one(judge, odd_database, "SELECT 1", endless).official is V.WRONG


def test_a_candidate_may_cost_more_where_gold_costs_much(odd_database: Path) -> None:
    limits = SqlLimits(judge_min_steps=10_000, judge_steps_per_gold_step=5, judge_steps_per_page=1)
    costly = "SELECT count(*) FROM many a, many b WHERE a.i < b.i"
    with SqlExecutor(limits, workers=1) as executor, Judge(executor, None) as judge:
        assert judge_one(judge, odd_database, costly, costly + " AND a.i < b.i + 0").official is V.CORRECT
        assert judge_one(judge, odd_database, "SELECT 499500", costly).official is V.TIMEOUT
        ((execution, judgement),) = judge.execute_and_judge([JudgeItem(odd_database, "SELECT 499500", costly)])
        assert execution.outcome is Outcome.ROWS, "what a model is shown does not depend on gold"
        assert judgement.official is V.TIMEOUT


def test_judgements_come_in_item_order_and_each_spelling_runs_once(judge: Judge, odd_database: Path) -> None:
    sqls = ["SELECT 1", "select  1", "SELECT\n1 ;", None, "SELECT 2", "SELECT '1'"] * 500
    found = list(judge.judge_many(JudgeItem(odd_database, "SELECT 1", sql) for sql in sqls))
    assert [judgement.official for judgement in found] == [V.CORRECT] * 3 * 0 + [
        V.CORRECT,
        V.CORRECT,
        V.CORRECT,
        V.ERROR,
        V.WRONG,
        V.WRONG,
    ] * 500
    assert judge.executed == 4, "gold, and three different SQL"


def test_a_second_judging_executes_nothing(odd_database: Path, tmp_path: Path) -> None:
    items = [JudgeItem(odd_database, "SELECT 1", sql) for sql, _ in hostile_cases()[:100]]
    items.append(JudgeItem(odd_database, "SELECT nothing", "SELECT 1"))
    found = []
    for executed in (True, False):
        with SqlExecutor(SMALL, workers=2) as executor, Judge(executor, tmp_path) as judge:
            found.append(list(judge.judge_many(items)))
            assert bool(judge.executed) is executed
    assert found[0] == found[1]


def test_gold_runs_once_for_judging_executing_and_the_receipt(odd_database: Path, tmp_path: Path) -> None:
    items = [JudgeItem(odd_database, f"SELECT {number}", f"SELECT {number}.0") for number in range(20)]
    with SqlExecutor(SMALL, workers=2) as executor, Judge(executor, tmp_path) as judge:
        golds = list(judge.execute_gold(items))
        assert judge.executed == 20
        assert all(judgement.correct for judgement in judge.judge_many(items))
        assert judge.executed == 40
        assert [gold.preview for gold in judge.execute_gold(items)] == [((number,),) for number in range(20)]
        assert judge.executed == 40
    assert [gold.preview for gold in golds] == [((number,),) for number in range(20)]


def test_changed_limits_or_bytes_are_judged_anew(odd_database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(odd_database.read_bytes())
    counts = []
    for path, limits in ((odd_database, SMALL), (copy, SMALL), (odd_database, SqlLimits(timeout_s=7))):
        with SqlExecutor(limits, workers=1) as executor, Judge(executor, tmp_path / "cache") as judge:
            assert judge_one(judge, path, "SELECT 1", "SELECT 1").correct
            counts.append(judge.executed)
    assert counts == [2, 0, 2], "equal bytes under another name are the same database"
    with sqlite3.connect(copy) as connection:
        connection.execute("DELETE FROM hero")
    connection.close()
    with SqlExecutor(SMALL, workers=1) as executor, Judge(executor, tmp_path / "cache") as judge:
        assert judge_one(judge, copy, "SELECT 1", "SELECT 1").correct
        assert judge.executed == 2


def test_many_candidates_of_one_gold_share_its_single_execution(judge: Judge, odd_database: Path) -> None:
    items = [JudgeItem(odd_database, "SELECT count(*) FROM hero", f"SELECT {number}") for number in range(1000)]
    found = list(judge.judge_many(items))
    assert [number for number, judgement in enumerate(found) if judgement.correct] == [4]
    assert judge.executed == 1001


def test_gold_that_kills_its_worker_is_unavailable_and_the_rest_is_judged(odd_database: Path) -> None:
    stuck = "SELECT instr(zeroblob(15000000), zeroblob(7500000) || x'01')"
    items = [JudgeItem(odd_database, stuck, f"SELECT {number}") for number in range(300)]
    items.append(JudgeItem(odd_database, "SELECT 1", "SELECT 1"))
    with SqlExecutor(SqlLimits(timeout_s=0.2), workers=1) as executor, Judge(executor, None) as judge:
        assert [judgement.official for judgement in judge.judge_many(items)] == [V.GOLD_UNAVAILABLE] * 300 + [V.CORRECT]
        assert next(judge.execute_gold(items)).outcome is Outcome.TIMEOUT
        ((execution, judgement),) = judge.execute_and_judge([JudgeItem(odd_database, stuck, "SELECT 77")])
        assert execution.preview == ((77,),)
        assert judgement.official is V.GOLD_UNAVAILABLE


def test_the_number_of_workers_changes_nothing(odd_database: Path) -> None:
    sqls = [sql for sql, outcome in hostile_cases() if outcome not in SLOW]
    items = [JudgeItem(odd_database, gold, sql) for gold in ("SELECT 1", "SELECT 4") for sql in sqls]
    found = []
    for workers in (1, 3):
        with SqlExecutor(SMALL, workers) as executor, Judge(executor, None) as judge:
            found.append(list(judge.judge_many(items)))
    assert found[0] == found[1]


def test_a_missing_database_is_an_error_and_no_verdict(judge: Judge, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError):
        judge_one(judge, tmp_path / "nowhere.sqlite", "SELECT 1", "SELECT 1")


def test_a_cache_that_is_no_cache_is_an_error(executor: SqlExecutor, tmp_path: Path) -> None:
    (tmp_path / "judge.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(StageInputError, match="writable folder"):
        Judge(executor, tmp_path)
