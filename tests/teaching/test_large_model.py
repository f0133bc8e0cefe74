"""The teacher that is a large model: what it is asked, what is taken from its answers, and what is left out.

It is asked over HTTP, by the engine that a user configures; behind the server the answers are written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.agents.planner import planner_answer
from mats_sql.agents.review import Review
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Schema
from mats_sql.config import GenerationSettings
from mats_sql.generation.engine import Engine
from mats_sql.generation.open import open_engine
from mats_sql.teaching.large_model import LargeModelTeacher
from mats_sql.teaching.teacher import CritiqueTask, PlanTask, Teacher
from tests.chat_server import ChatServer, Responder, reply, serving

GOLD = "SELECT name FROM singer WHERE age > 3"
QUESTION = Question(1, "music", "Who is older than 3?")
REVIEW = Review(QUESTION, "table singer", "SELECT age FROM singer", "no rows")


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with serving(written(lambda _: "")) as running:
        yield running


@pytest.fixture
def engine(server: ChatServer) -> Iterator[Engine]:
    server.bodies.clear()
    opened = open_engine(GenerationSettings(engine="openai", base_url=server.url), server.model_name)
    yield opened
    opened.close()


def written(text: Callable[[str], str], *, finished: bool = True) -> Responder:
    """Answer every prompt with a text that depends on it alone."""

    def answer(body: dict[str, Any]) -> tuple[int, object]:
        return reply(text(body["messages"][0]["content"]), 9, finished=finished)

    return answer


def test_the_plan_takes_the_models_sections_and_the_golds_sql(
    server: ChatServer, engine: Engine, schema: Schema
) -> None:
    server.answer = written(
        lambda _: (
            "Sure!\n**Goal to select:** singer.name\n**Condition:** singer.Age > 3\nTables to use: singer\n"
            "Final SQL query:\n```sql\nSELECT something_else\n```"
        )
    )
    teacher: Teacher = LargeModelTeacher(engine)
    [plan] = teacher.plans([PlanTask(QUESTION, schema, "table singer", f"{GOLD};")])
    assert plan == planner_answer("singer.name", "singer.Age > 3", "singer", GOLD)


def test_the_critique_is_the_models_own_words(server: ChatServer, engine: Engine, schema: Schema) -> None:
    text = "SELECT.\nIt selects ages where names were asked.\nConclude: **incorrect**"
    server.answer = written(lambda _: f"\n{text}\n")
    teacher = LargeModelTeacher(engine)
    [critique] = teacher.critiques([CritiqueTask(Validator.SELECT, REVIEW, schema, GOLD)])
    assert critique is not None
    assert (critique.text, critique.verdict) == (text, Verdict.INCORRECT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT.\nLooks fine.",
        "Looks fine.\nConclude: correct.",
        "CONDITION.\nfine\nConclude: correct.",
        f"SELECT.\nIt should be {GOLD.lower()}.\nConclude: incorrect.",
    ],
)
def test_a_critique_without_opening_or_conclusion_or_that_quotes_the_gold_is_left_out_and_counted(
    server: ChatServer, engine: Engine, schema: Schema, text: str
) -> None:
    server.answer = written(lambda _: text)
    teacher = LargeModelTeacher(engine)
    tasks = [CritiqueTask(Validator.SELECT, REVIEW, schema, GOLD)]
    assert teacher.critiques(tasks) == [None]
    assert teacher.unusable == 1


@pytest.mark.parametrize(
    "text", ["", "Goal to select: a\nCondition: b", "Goal to select:\nCondition: b\nTables to use: c"]
)
def test_a_plan_without_all_sections_is_left_out_and_counted(
    server: ChatServer, engine: Engine, schema: Schema, text: str
) -> None:
    server.answer = written(lambda _: text)
    teacher = LargeModelTeacher(engine)
    assert teacher.plans([PlanTask(QUESTION, schema, "", GOLD)]) == [None]
    assert teacher.unusable == 1


def test_an_answer_cut_short_is_left_out(server: ChatServer, engine: Engine, schema: Schema) -> None:
    text = "SELECT.\nfine\nConclude: correct."
    server.answer = written(lambda _: text, finished=False)
    teacher = LargeModelTeacher(engine)
    assert teacher.critiques([CritiqueTask(Validator.SELECT, REVIEW, schema, GOLD)]) == [None]


def test_one_unusable_answer_does_not_shift_the_others(server: ChatServer, engine: Engine, schema: Schema) -> None:
    server.answer = written(
        lambda prompt: "" if "age FROM" in prompt.partition("Reference")[0] else "SELECT.\nConclude: correct."
    )
    reviews = [Review(QUESTION, "", f"SELECT {column} FROM singer", "no rows") for column in ("name", "age", "id")]
    teacher = LargeModelTeacher(engine)
    answers = teacher.critiques([CritiqueTask(Validator.SELECT, review, schema, GOLD) for review in reviews])
    assert [answer is None for answer in answers] == [False, True, False]


def test_the_model_is_shown_the_gold_and_the_layout_and_asked_greedily(
    server: ChatServer, engine: Engine, schema: Schema
) -> None:
    teacher = LargeModelTeacher(engine, max_new_tokens=64)
    teacher.plans([PlanTask(QUESTION, schema, "table singer", GOLD)])
    teacher.critiques([CritiqueTask(Validator.CONDITION, REVIEW, schema, GOLD)])
    assert [(body["n"], body["temperature"], body["max_tokens"]) for body in server.bodies] == [(1, 0, 64)] * 2
    prompts = [body["messages"][0]["content"] for body in server.bodies]
    assert all(GOLD in prompt and "table singer" in prompt for prompt in prompts)
    assert "Goal to select: <" in prompts[0]
    assert "CONDITION.\nThe query keeps: <" in prompts[1]


def test_a_prompt_that_the_server_finds_too_long_is_left_out_and_counted(
    server: ChatServer, engine: Engine, schema: Schema
) -> None:
    server.answer = lambda _: (400, {"error": {"message": "This model's maximum context length is 400 tokens."}})
    teacher = LargeModelTeacher(engine)
    assert teacher.plans([PlanTask(QUESTION, schema, "", GOLD)]) == [None]
    assert teacher.unusable == 1
