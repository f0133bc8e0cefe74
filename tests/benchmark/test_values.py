from __future__ import annotations

import sqlite3
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.benchmark.schema import Column, Schema, Table
from mats_sql.benchmark.value_writer import MAX_VALUE_CHARACTERS
from mats_sql.benchmark.values import ValueIndex
from mats_sql.benchmark.words import tokenize
from mats_sql.errors import DatabaseError


def index_of(path, values, *, type_name="text") -> ValueIndex:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE `a table` (`select` TEXT)")
        connection.executemany("INSERT INTO `a table` VALUES (?)", [(value,) for value in values])
    connection.close()
    return ValueIndex.build(path, Schema("a", (Table("a table", (Column("select", type_name),)),)))


def found(index: ValueIndex, question: str, per_column: int = 2) -> list[str]:
    return list(index.retrieve(question, per_column).get(("a table", "select"), ()))


TOWNS = ["North Hill", "Hill End", "South Hill Farm Road", "Glass", "2021", "Élan", "of"]
RETRIEVALS = [
    ("Who lives in North Hill?", ["North Hill", "Hill End"]),
    ("who lives in NORTH-HILL", ["North Hill", "Hill End"]),
    ("glass or 2021", ["2021", "Glass"]),
    ("the élan", ["Élan"]),
    ("nothing of this", []),
    ("", []),
]


@pytest.mark.parametrize(("question", "expected"), RETRIEVALS)
def test_values_that_share_a_word_come_best_first(tmp_path, question, expected):
    assert found(index_of(tmp_path / "a.sqlite", TOWNS), question) == expected


def test_a_rare_word_counts_more_than_a_common_one(tmp_path):
    index = index_of(tmp_path / "a.sqlite", ["red one", "red two", "red three", "blue four"])
    assert found(index, "red or blue", 1) == ["blue four"]


def test_equal_scores_come_in_alphabetical_order_whatever_the_order_of_rows(tmp_path):
    values = ["red c", "red a", "red b"]
    first = found(index_of(tmp_path / "1.sqlite", values), "red", 3)
    second = found(index_of(tmp_path / "2.sqlite", values[::-1]), "red", 3)
    assert first == second == ["red a", "red b", "red c"]


def test_long_blank_numeric_binary_and_broken_values_are_not_indexed(tmp_path):
    fits, too_long = "word " + "x" * (MAX_VALUE_CHARACTERS - 5), "word " + "x" * (MAX_VALUE_CHARACTERS - 4)
    index = index_of(tmp_path / "a.sqlite", [fits, too_long, "", None, b"word", "word\nbreak", "!?"])
    assert found(index, "word", 9) == [fits]


def test_text_that_is_not_utf8_is_not_indexed(tmp_path):
    index_of(tmp_path / "a.sqlite", ["word fine"])
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        connection.execute("INSERT INTO `a table` VALUES (CAST(x'776f726420ff' AS TEXT))")
    connection.close()
    schema = Schema("a", (Table("a table", (Column("select", "text"),)),))
    assert found(ValueIndex.build(tmp_path / "a.sqlite", schema), "word", 9) == ["word fine"]


@pytest.mark.parametrize(
    ("type_name", "expected"), [("TEXT", ["Glass"]), ("varchar(20)", ["Glass"]), ("date", []), ("number", [])]
)
def test_only_text_columns_are_indexed(tmp_path, type_name, expected):
    assert found(index_of(tmp_path / "a.sqlite", TOWNS, type_name=type_name), "Glass") == expected


def test_no_value_is_retrieved_when_none_is_wanted(tmp_path):
    assert index_of(tmp_path / "a.sqlite", TOWNS).retrieve("North Hill", 0) == {}


def test_tables_that_the_file_lacks_are_passed_over(tmp_path):
    index_of(tmp_path / "a.sqlite", TOWNS)
    schema = Schema("a", (Table("other", (Column("x", "text"),)),))
    assert ValueIndex.build(tmp_path / "a.sqlite", schema).retrieve("North", 2) == {}


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(DatabaseError, match=r"none\.sqlite: No such file"):
        ValueIndex.build(tmp_path / "none.sqlite", Schema("a", ()))


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.text("ab c", max_size=8), max_size=8), question=st.text("ab c", max_size=8))
def test_every_retrieved_value_is_in_the_column_and_shares_a_word(tmp_path_factory, values, question):
    index = index_of(tmp_path_factory.mktemp("values") / "a.sqlite", values)
    retrieved = found(index, question, 3)
    assert set(retrieved) <= set(values)
    assert len(set(retrieved)) == len(retrieved) <= 3
    assert all(set(tokenize(value)) & set(tokenize(question)) for value in retrieved)


def test_retrieval_from_a_small_database_takes_less_than_a_millisecond_and_a_half(tmp_path):
    index = index_of(tmp_path / "a.sqlite", [f"word{i % 70} other{i}" for i in range(1000)])
    questions = [f"Which word{i % 70} has other{i}?" for i in range(300)]
    started = time.process_time()
    for question in questions:
        index.retrieve(question, 2)
    assert (time.process_time() - started) / len(questions) < 0.0015
