"""Slips of the pen change the text of a SQL in one place, and words that were not copied are never the words."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing

from mats_sql.lab import slips, words
from mats_sql.lab.invention import invent, invent_kin, invent_like, invent_table, mistake
from mats_sql.lab.query import Condition, Expr, Join, Query, Ref, render

QUERY = Query(
    (Expr(Ref("singer", "name")),),
    "singer",
    (Join("concert", Ref("singer", "concert_id"), Ref("concert", "id")),),
    (Condition(Expr(Ref("concert", "title")), "=", "Golden River"),),
)
SQL = render(QUERY)


def draws(count: int = 200) -> list[random.Random]:
    return [random.Random(seed) for seed in range(count)]


def test_a_misnamed_table_is_misnamed_in_one_place_or_in_all_its_keys_included() -> None:
    found = {slips.misname_table(rng, SQL, QUERY) for rng in draws()}
    assert SQL not in found
    assert any("concert" not in sql for sql in found)
    assert any(sql.count("concert") == SQL.count("concert") - 1 for sql in found)
    assert not any("JOIN coger" in sql for sql in found)
    crossed = {slips.misname_table(rng, SQL, QUERY, crossed_share=0.4) for rng in draws()}
    assert any("JOIN coger" in sql for sql in crossed), "a cross of concert and singer"


def test_a_miswritten_value_leaves_all_but_the_text_in_quotes() -> None:
    for rng in draws():
        sql = slips.miswrite_value(rng, SQL, QUERY)
        assert sql != SQL
        assert re.sub("'[^']*'", "", sql) == re.sub("'[^']*'", "", SQL)


def test_a_sql_without_text_has_no_value_to_miswrite() -> None:
    query = Query((Expr(None, "COUNT"),), "singer")
    assert slips.miswrite_value(random.Random(0), render(query), query) == render(query)


def test_one_column_is_left_without_its_table() -> None:
    found = {slips.leave_unqualified(rng, SQL, QUERY) for rng in draws()}
    assert all(sql.count(".") == SQL.count(".") - 1 for sql in found)


def test_a_broken_off_sql_is_a_beginning() -> None:
    found = {slips.break_off(rng, SQL, QUERY) for rng in draws()}
    assert all(SQL.startswith(sql) and sql != SQL for sql in found)


def test_invented_words_are_no_ones_and_have_a_regular_plural() -> None:
    listed = {word.lower() for word in (*words.pretraining_words(), *words.reserved_words())}
    found = [invent(rng) for rng in draws(2000)]
    assert not listed.intersection(found)
    assert all(4 <= len(word) <= 9 and word.isalpha() and word.islower() and word[-1] not in "si" for word in found)
    assert len(set(found)) > 1900


def test_an_invented_table_can_be_made() -> None:
    for name in {invent_table(rng) for rng in draws(2000)} | {"temp", "left", "plan"}:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute(f"CREATE TABLE {name} (id INTEGER)")


def test_kin_are_two_new_words_that_may_name_tables_and_share_inner_letters() -> None:
    listed = {word.lower() for word in (*words.pretraining_words(), *words.reserved_words())}
    for first, other in map(invent_kin, draws(500)):
        assert first != other
        assert listed.isdisjoint((first, other))
        assert any(first[at : at + 2] in other[1:-1] for at in range(1, len(first) - 2))
        with closing(sqlite3.connect(":memory:")) as connection:
            for name in (first, other):
                connection.execute(f"CREATE TABLE {name} (id INTEGER)")


def test_an_invented_word_has_the_capital_of_what_it_stands_for() -> None:
    assert all(invent_like(rng, "France").istitle() and invent_like(rng, "jazz").islower() for rng in draws())


def test_a_mistake_is_never_the_word_itself() -> None:
    for rng in draws(2000):
        assert mistake(rng, "tool") != "tool"
        assert mistake(rng, "Ivan").lower() != "ivan"
