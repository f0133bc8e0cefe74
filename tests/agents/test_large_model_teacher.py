"""The teacher that is a large model: what it is asked, what is taken from its answers, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.agents.large_model_teacher import LargeModelTeacher
from mats_sql.agents.planner import planner_answer
from mats_sql.agents.review import Review
from mats_sql.agents.teacher import CritiqueTask, PlanTask, Teacher
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Schema
from mats_sql.generation.engine import Completion, Request, Sampling

GOLD = "SELECT name FROM singer WHERE age > 3"
QUESTION = Question(1, "music", "Who is older than 3?")
REVIEW = Review(QUESTION, "table singer", "SELECT age FROM singer", "no rows")


class Scripted:
    """An engine that answers by a function of the prompt."""

    def __init__(self, answer: Callable[[str], str], *, finished: bool = True) -> None:
        self.prompts: list[str] = []
        self.sampling: Sampling | None = None
        self._answer, self._finished = answer, finished

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[tuple[Completion, ...]]:
        self.sampling = sampling
        self.prompts += [request.messages[0].content for request in requests]
        answers = [self._answer(request.messages[0].content) for request in requests]
        return [(Completion(text, len(text.split()), self._finished),) for text in answers]

    def choice_logprobs(self, requests: Sequence[Request], choices: tuple[str, ...]) -> list[tuple[float, ...]]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to free."""


def test_the_plan_takes_the_models_sections_and_the_golds_sql(schema: Schema) -> None:
    engine = Scripted(
        lambda _: (
            "Sure!\n**Goal to select:** singer.name\n**Condition:** singer.Age > 3\nTables to use: singer\n"
            "Final SQL query:\n```sql\nSELECT something_else\n```"
        )
    )
    teacher: Teacher = LargeModelTeacher(engine)
    [plan] = teacher.plans([PlanTask(QUESTION, schema, "table singer", f"{GOLD};")])
    assert plan == planner_answer("singer.name", "singer.Age > 3", "singer", GOLD)


def test_the_critique_is_the_models_own_words(schema: Schema) -> None:
    text = "SELECT.\nIt selects ages where names were asked.\nConclude: **incorrect**"
    teacher = LargeModelTeacher(Scripted(lambda _: f"\n{text}\n"))
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
    schema: Schema, text: str
) -> None:
    teacher = LargeModelTeacher(Scripted(lambda _: text))
    tasks = [CritiqueTask(Validator.SELECT, REVIEW, schema, GOLD)]
    assert teacher.critiques(tasks) == [None]
    assert teacher.unusable == 1


@pytest.mark.parametrize(
    "text", ["", "Goal to select: a\nCondition: b", "Goal to select:\nCondition: b\nTables to use: c"]
)
def test_a_plan_without_all_sections_is_left_out_and_counted(schema: Schema, text: str) -> None:
    teacher = LargeModelTeacher(Scripted(lambda _: text))
    assert teacher.plans([PlanTask(QUESTION, schema, "", GOLD)]) == [None]
    assert teacher.unusable == 1


def test_an_answer_cut_short_is_left_out(schema: Schema) -> None:
    text = "SELECT.\nfine\nConclude: correct."
    teacher = LargeModelTeacher(Scripted(lambda _: text, finished=False))
    assert teacher.critiques([CritiqueTask(Validator.SELECT, REVIEW, schema, GOLD)]) == [None]


def test_one_unusable_answer_does_not_shift_the_others(schema: Schema) -> None:
    engine = Scripted(
        lambda prompt: "" if "age FROM" in prompt.partition("Reference")[0] else "SELECT.\nConclude: correct."
    )
    reviews = [Review(QUESTION, "", f"SELECT {column} FROM singer", "no rows") for column in ("name", "age", "id")]
    teacher = LargeModelTeacher(engine)
    answers = teacher.critiques([CritiqueTask(Validator.SELECT, review, schema, GOLD) for review in reviews])
    assert [answer is None for answer in answers] == [False, True, False]


def test_the_model_is_shown_the_gold_and_the_layout_and_asked_greedily(schema: Schema) -> None:
    engine = Scripted(lambda _: "")
    teacher = LargeModelTeacher(engine, max_new_tokens=64)
    teacher.plans([PlanTask(QUESTION, schema, "table singer", GOLD)])
    teacher.critiques([CritiqueTask(Validator.CONDITION, REVIEW, schema, GOLD)])
    assert engine.sampling == Sampling(n=1, temperature=0.0, max_new_tokens=64)
    assert all(GOLD in prompt and "table singer" in prompt for prompt in engine.prompts)
    assert "Goal to select: <" in engine.prompts[0]
    assert "CONDITION.\nThe query keeps: <" in engine.prompts[1]
