"""A schema under a budget: what stays, what goes, and that nothing but the question decides."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.prompts import SchemaTexts
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
from mats_sql.benchmark.schema_budget import fit_schema, question_words, relevance
from mats_sql.benchmark.schema_prompt import SchemaStyle, schema_text
from mats_sql.config import BenchmarkSettings

STYLE = SchemaStyle()
CLUB = Table(
    "club",
    (
        Column("id", "integer", primary_key=True),
        Column("FoundingYear", "integer"),
        Column("home_town", "text"),
        Column("motto", "text", meaning="the words below its crest"),
        Column("budget", "real"),
    ),
)
PLAYER = Table(
    "player",
    (
        Column("number", "integer", primary_key=True),
        Column("club", "integer"),
        Column("name", "text"),
        Column("height", "real", meaning="in centimetres"),
    ),
)
LEAGUE = Table("league", (Column("title", "text"), Column("country", "text")))
SCHEMA = Schema("sport", (CLUB, PLAYER, LEAGUE), (ForeignKey("player", "club", "club", "id"),))
WHOLE = schema_text(SCHEMA, {}, STYLE)
KEYS = {"club.id", "player.number", "player.club"}


def asked(text: str, evidence: str = "") -> Question:
    return Question(1, "sport", text, evidence)


def columns(text: str) -> list[str]:
    """Return the columns of a text in its order."""
    return [line.split(" | ")[0] for line in text.splitlines() if " | " in line]


def fitted(question: Question, characters: int, values: dict[tuple[str, str], list[str]] | None = None) -> list[str]:
    return columns(fit_schema(SCHEMA, question, values or {}, STYLE, characters).text)


def test_a_text_that_fits_is_not_changed() -> None:
    found = fit_schema(SCHEMA, asked("What?"), {}, STYLE, len(WHOLE))
    assert (found.text, found.columns_left_out) == (WHOLE, 0)
    assert fit_schema(SCHEMA, asked("What?"), {}, STYLE, len(WHOLE) - 1).columns_left_out > 0


@pytest.mark.parametrize(
    ("question", "nearest"),
    [
        (asked("In which year was it founded?"), "club.FoundingYear"),
        (asked("How tall?", "tall refers to height"), "player.height"),
        (asked("What do the words on it say?"), "club.motto"),
        (asked("Which leagues?"), "league.title"),
        (asked("The BUDGETS of all"), "club.budget"),
    ],
    ids=lambda value: value.text if isinstance(value, Question) else None,
)
def test_the_column_that_the_question_is_about_stays_beside_the_keys(question: Question, nearest: str) -> None:
    keys_alone = len(fit_schema(SCHEMA, question, {}, STYLE, 1).text)
    room = keys_alone + len("table league , columns = [\n]\nplayer.height | type: real ; meaning: in centimetres\n")
    kept = fitted(question, room)
    assert nearest in kept
    assert set(kept) >= KEYS
    assert len(kept) < len(columns(WHOLE))


def test_a_mentioned_value_counts_for_its_column() -> None:
    words = question_words(asked("Who is from Bergen?"))
    assert relevance(CLUB, CLUB.columns[2], words, {("club", "home_town"): ["Bergen"]}) == 2
    assert relevance(CLUB, CLUB.columns[2], words, {}) == 0


def test_keys_stay_even_where_they_alone_are_too_long() -> None:
    found = fit_schema(SCHEMA, asked("What?"), {}, STYLE, 1)
    assert set(columns(found.text)) == KEYS
    assert found.text.endswith("foreign keys:\nplayer.club = club.id")
    assert found.columns_left_out == len(columns(WHOLE)) - len(KEYS)
    assert "league" not in found.text


QUESTIONS = st.lists(
    st.sampled_from(["year", "budget", "Bergen", "height", "league", "names", "of", "motto", "clubs", "id"]), max_size=6
)


@given(words=QUESTIONS, hint=QUESTIONS, characters=st.integers(1, len(WHOLE) + 60))
def test_every_text_has_the_keys_whole_columns_in_order_and_the_length_that_was_asked_for(
    words: list[str], hint: list[str], characters: int
) -> None:
    question = asked(" ".join(words), " ".join(hint))
    values = {("club", "home_town"): ["Bergen"]} if "Bergen" in words else {}
    whole = schema_text(SCHEMA, values, STYLE)
    found = fit_schema(SCHEMA, question, values, STYLE, characters)
    keys_alone = fit_schema(SCHEMA, question, values, STYLE, 1).text
    assert len(found.text) <= max(characters, len(keys_alone))
    assert set(found.text.splitlines()) <= set(whole.splitlines())
    shown = columns(found.text)
    assert shown == [column for column in columns(whole) if column in shown]
    assert set(shown) >= KEYS
    assert found.columns_left_out == len(columns(whole)) - len(shown)


def test_changing_every_gold_leaves_every_shortened_text_byte_identical(bird_folder) -> None:
    settings = BenchmarkSettings(schema_characters=260)

    def texts(benchmark) -> list[str]:
        return [SchemaTexts(benchmark, settings).text_for(question) for question in benchmark.questions]

    benchmark = read_bird(bird_folder.write(), "dev")
    before = texts(benchmark)
    assert all(text != SchemaTexts(benchmark, BenchmarkSettings()).text_for(benchmark.questions[0]) for text in before)
    assert texts(dataclasses.replace(benchmark, golds={})) == before
    for question in bird_folder.questions:
        question["SQL"] = "SELECT born, score, home_town FROM `Student List`"
    assert texts(read_bird(bird_folder.write(), "dev")) == before


def test_without_a_budget_the_settings_read_as_before_there_was_one() -> None:
    settings = BenchmarkSettings()
    assert settings.prompt_settings() == {
        "values_per_column": 1,
        "show_types": True,
        "show_meanings": True,
        "show_nulls": True,
    }
    assert settings.question_settings() == {
        "kind": "lab",
        "train_questions": None,
        "dev_questions": None,
        "validation_questions": 150,
        **settings.prompt_settings(),
    }
    assert BenchmarkSettings(train_databases=("a",)).question_settings()["train_databases"] == ["a"]
    bounded = BenchmarkSettings(schema_characters=9)
    assert bounded.prompt_settings()["schema_characters"] == bounded.question_settings()["schema_characters"] == 9
