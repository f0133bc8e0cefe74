"""Texts of one spelling have one result; only what SQLite's tokenizer ignores is folded."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.sql.spelling import spelling_of

TOKENS = st.sampled_from(
    [
        "SELECT",
        "a",
        "A",
        "'x  Y'",
        '"B c"',
        "`B c`",
        "[B c]",
        ",",
        "+",
        "1",
        "FROM",
        "t",
        "WHERE",
        "=",
        "''",
        "x'0A'",
        ";",
    ]
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("SELECT 1", "select\n\t1 ;", True),
        ("SELECT a FROM t", "select A from T", True),
        ("SELECT 'a'", "SELECT 'A'", False),
        ("SELECT 'a  b'", "SELECT 'a b'", False),
        ('SELECT "a"', 'SELECT "A"', False),
        ("SELECT `a`", "SELECT `A`", False),
        ("SELECT [a]", "SELECT [A]", False),
        ("SELECT x'0a'", "SELECT x '0a'", False),
        ("SELECT 1 -- a", "SELECT 1 -- A", False),
        ("SELECT \u00e9", "SELECT \u00c9", False),
        ("SELECT 1\x0b", "SELECT 1 ", False),
        ("SELECT 'it''s A'", "SELECT 'it''s a'", False),
        ("SELECT 1;;", "SELECT 1", False),
        ("SELECT 'open", "SELECT 'OPEN", False),
        ("EXPLAIN SELECT A", "EXPLAIN SELECT a", False),
    ],
)
def test_spellings(one: str, other: str, same: bool) -> None:
    assert (spelling_of(one) == spelling_of(other)) is same


@given(st.lists(st.tuples(TOKENS, st.sampled_from(["", " ", "\n", "  \t"])), max_size=12))
def test_the_common_spelling_runs_as_the_text_does(parts: list[tuple[str, str]]) -> None:
    text = "".join(token + space for token, space in parts)
    assert _result(text) == _result(spelling_of(text))


def _result(sql: str) -> object:
    connection = sqlite3.connect(":memory:")
    connection.execute('CREATE TABLE t (a, "B c")')
    connection.execute("INSERT INTO t VALUES (1, 'x  Y'), (NULL, 2)")
    try:
        return connection.execute(sql).fetchall()
    except (sqlite3.Error, sqlite3.Warning):
        return "error"
