"""A critique has the right content when it asks for what the teacher's critique of the same SQL asks for."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.agents.critique import Critique, Validator, Verdict, critique_answer, parse_critique
from mats_sql.benchmark.benchmark import Benchmark
from mats_sql.benchmark.bird import read_bird
from mats_sql.teaching.content import asked_for, right_content, same_content
from mats_sql.teaching.outline.outline import outline
from mats_sql.teaching.outline.shown import shown_condition_key, shown_select_key
from mats_sql.teaching.teacher import write_critique
from tests.teaching.test_teacher_properties import SCHEMA, Ask, asks, styles, written


def restyled(text: str, style: random.Random) -> str:
    """Write a text without literals in other letters, spaces and quotes."""
    words = text.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split()
    turned = [style.choice([str.lower, str.upper, str])(word) for word in words]
    quoted = [f"`{word.replace('.', '`.`')}`" if "." in word and style.random() < 0.5 else word for word in turned]
    return style.choice([" ", "  "]).join(quoted)


def shuffled(ask: Ask, style: random.Random) -> str:
    """Write what a query keeps, its unordered parts in any order."""
    sources = ["singer", "concert"]
    mirrored = {">": "<", "<": ">", "=": "=", "<>": "<>"}
    filters = [
        style.choice([f"{table}.{column} {sign} {value}", f"{value} {mirrored[sign]} {table}.{column}"])
        for (table, column), sign, value in sorted(ask.filters)
    ]
    style.shuffle(sources)
    style.shuffle(filters)
    parts = [
        f"FROM {', '.join(sources)}",
        f"WHERE {' AND '.join(filters)}" if filters else "",
        f"ORDER BY {'.'.join(ask.order)}" if ask.order else "",
        f"LIMIT {ask.limit}" if ask.limit else "",
    ]
    return " ".join(part for part in parts if part)


def complaint(validator: Validator, asked: str) -> Critique:
    return parse_critique(validator, critique_answer(validator, "anything", asked, correct=False))


def sql_of(ask: Ask) -> str:
    return written(ask, random.Random(0))


@settings(max_examples=150, deadline=None)
@given(asks, asks, styles, st.sampled_from(list(Validator)))
def test_the_teachers_own_words_are_right_in_any_letters_spaces_and_quotes(
    ask: Ask, gold: Ask, style: random.Random, validator: Validator
) -> None:
    truth = write_critique(validator, sql_of(ask), sql_of(gold), SCHEMA)
    assert right_content(truth, truth)
    if truth.verdict is Verdict.INCORRECT:
        asked = asked_for(truth.text)
        assert asked is not None
        assert right_content(complaint(validator, restyled(asked, style)), truth)


@settings(max_examples=150, deadline=None)
@given(asks, styles)
def test_unordered_parts_may_stand_in_any_order(ask: Ask, style: random.Random) -> None:
    found = outline(sql_of(ask), SCHEMA)
    assert found is not None
    assert same_content(Validator.CONDITION, found.keeps, shuffled(ask, style))


@settings(max_examples=150, deadline=None)
@given(asks, asks)
def test_what_another_query_keeps_or_selects_is_other_content(ask: Ask, other: Ask) -> None:
    one, two = outline(sql_of(ask), SCHEMA), outline(sql_of(other), SCHEMA)
    assert one is not None
    assert two is not None
    assert same_content(Validator.SELECT, one.selects, two.selects) == (ask.selected == other.selected)
    same = replace(ask, selected=other.selected) == other
    assert same_content(Validator.CONDITION, one.keeps, two.keeps) == same


@settings(max_examples=150, deadline=None)
@given(asks, asks, st.sampled_from(list(Validator)), st.booleans())
def test_an_approval_is_right_exactly_when_the_teacher_approves(
    ask: Ask, gold: Ask, validator: Validator, same: bool
) -> None:
    truth = write_critique(validator, sql_of(ask), sql_of(ask if same else gold), SCHEMA)
    approval = parse_critique(validator, critique_answer(validator, "x", "x", correct=True))
    assert right_content(approval, truth) == (truth.verdict is Verdict.CORRECT)


@given(asks, styles, st.sampled_from(list(Validator)))
def test_a_complaint_where_the_teacher_approves_is_wrong_whatever_it_asks_for(
    ask: Ask, style: random.Random, validator: Validator
) -> None:
    truth = write_critique(validator, written(ask, style), sql_of(ask), SCHEMA)
    asked = asked_for(truth.text)
    assert truth.verdict is Verdict.CORRECT
    assert asked is not None
    assert not right_content(complaint(validator, asked), truth)


SAME = [
    (Validator.SELECT, "T.`a b`, COUNT(*)", "t.[a b] , count( * )"),
    (Validator.SELECT, "DISTINCT t.x UNION s.y", "distinct T.X union S.Y"),
    (Validator.CONDITION, "FROM t WHERE t.x IN (1, 2) AND t.y = 'Lima'", "from t where 'Lima' = t.y and t.x in (2, 1)"),
    (Validator.CONDITION, "FROM t WHERE t.x BETWEEN 1 AND 2", "FROM t WHERE t.x <= 2 AND t.x >= 1"),
    (Validator.CONDITION, "FROM a, b, c ON b.x = c.y GROUP BY a.x, b.y", "FROM b, c ON c.y = b.x, a GROUP BY b.y, a.x"),
    (Validator.CONDITION, "FROM a, LEFT b ON a.x = b.y AND b.z = 1", "from a, left b on b.z = 1 and b.y = a.x"),
    (Validator.CONDITION, "none", "None"),
    (Validator.SELECT, "the NAME of every singer", "the name  of every singer"),
]
OTHER = [
    (Validator.SELECT, "t.a, t.b", "t.b, t.a"),
    (Validator.SELECT, "t.a", "DISTINCT t.a"),
    (Validator.SELECT, "t.a UNION s.b", "t.a UNION ALL s.b"),
    (Validator.CONDITION, "FROM t WHERE t.y = 'Lima'", "FROM t WHERE t.y = 'lima'"),
    (Validator.CONDITION, "FROM t WHERE t.x = 1 AND t.y = 2", "FROM t WHERE t.x = 1 OR t.y = 2"),
    (Validator.CONDITION, "FROM t ORDER BY t.x, t.y", "FROM t ORDER BY t.y, t.x"),
    (Validator.CONDITION, "FROM t ORDER BY t.x LIMIT 1", "FROM t ORDER BY t.x DESC LIMIT 1"),
    (Validator.CONDITION, "FROM a, b", "FROM a, CROSS b"),
    (Validator.CONDITION, "FROM a, b", "FROM a, LEFT b"),
    (Validator.CONDITION, "FROM t WHERE t.x = 1 UNION FROM s", "FROM t UNION FROM s WHERE t.x = 1"),
    (Validator.CONDITION, "WITH n AS (SELECT 1) FROM n", "WITH n AS (SELECT 2) FROM n"),
    (Validator.SELECT, "the name of every singer", "the age of every singer"),
]


@pytest.mark.parametrize(("validator", "one", "other"), SAME)
def test_texts_that_mean_the_same(validator: Validator, one: str, other: str) -> None:
    assert same_content(validator, one, other)


@pytest.mark.parametrize(("validator", "one", "other"), OTHER)
def test_texts_that_do_not(validator: Validator, one: str, other: str) -> None:
    assert not same_content(validator, one, other)


def test_a_critique_without_a_verdict_or_without_a_question_part_has_no_right_content() -> None:
    truth = write_critique(Validator.SELECT, "SELECT name FROM singer", "SELECT age FROM singer", SCHEMA)
    silent = parse_critique(Validator.SELECT, truth.text.replace("Conclude: incorrect.", ""))
    assert not right_content(silent, truth)
    assert not right_content(parse_critique(Validator.SELECT, "SELECT.\nConclude: incorrect."), truth)
    assert not right_content(complaint(Validator.SELECT, ""), truth)


@given(st.text(max_size=60), st.sampled_from(list(Validator)))
def test_any_text_means_the_same_as_itself(text: str, validator: Validator) -> None:
    assert same_content(validator, text, text)


@pytest.fixture(scope="module")
def bird(shared: Path) -> Benchmark:
    return read_bird(shared / "data" / "bird", "dev")


def test_what_birds_golds_select_and_keep_is_read_back_as_sql_and_told_apart(bird: Benchmark) -> None:
    unread = 0
    keys: dict[tuple[str, str], set[str]] = {}
    for gold in bird.golds.values():
        found = outline(gold.sql, bird.schemas[gold.db_id])
        assert found is not None
        shown = (shown_select_key(found.selects), shown_condition_key(found.keeps))
        unread += sum(key.startswith("text ") for key in shown)
        keys.setdefault(shown, set()).add(found.keeps)
    assert unread <= 2
    assert len(keys) > 0.9 * len({gold.sql for gold in bird.golds.values()})
