"""Supervised examples: what goes in, what comes out, and what may never shift, leak or unbalance them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.agents.critique import Critique, Validator, Verdict, parse_critique
from mats_sql.agents.fixer import FIXED_CRITIQUE, NO_COMPLAINT, parse_fix
from mats_sql.agents.planner import parse_plan
from mats_sql.agents.review import Review
from mats_sql.agents.selector import NO, YES
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
from mats_sql.choices import FixerCritique
from mats_sql.teaching.example import SftExample
from mats_sql.teaching.sft_examples import (
    KEPT_SHARE,
    LabelledReview,
    fixer_examples,
    planner_examples,
    selector_examples,
    validator_examples,
)
from mats_sql.teaching.teacher import CritiqueTask, PlanTask, RuleTeacher, write_critique

SCHEMA = Schema(
    "music",
    (
        Table("singer", (Column("id", "integer", True), Column("name", "text"), Column("age", "integer"))),
        Table("concert", (Column("id", "integer", True), Column("singer_id", "integer"))),
    ),
    (ForeignKey("concert", "singer_id", "singer", "id"),),
)
SCHEMAS = {"music": SCHEMA}
TEACHER = RuleTeacher()


def labelled(
    number: int, sql: str, gold: str, *, correct: bool, critiques: tuple[Critique, ...] = ()
) -> LabelledReview:
    question = Question(number, "music", f"Who is older than {number}?")
    return LabelledReview(Review(question, "table singer", sql, "no rows"), critiques, correct, gold)


def gold_of(number: int) -> str:
    return f"SELECT name FROM singer WHERE age > {number}"


def reviews(questions: int = 40) -> list[LabelledReview]:
    """Per question a correct SQL, one that selects the wrong column, and one with the wrong condition."""
    found = []
    for number in range(questions):
        gold = gold_of(number)
        found.append(labelled(number, gold.lower(), gold, correct=True))
        found.append(labelled(number, gold.replace("name", "id"), gold, correct=False))
        found.append(labelled(number, gold.replace(">", "<"), gold, correct=False))
    return found


def build(agent: str, data: list[LabelledReview], *, seed: int = 0) -> list[SftExample]:
    if agent == "selector":
        return selector_examples(data, seed=seed)
    if agent.startswith("fixer"):
        mode = FixerCritique(agent.removeprefix("fixer-"))
        return fixer_examples(data, TEACHER, schemas=SCHEMAS, mode=mode, seed=seed)
    return validator_examples(Validator(agent), data, TEACHER, schemas=SCHEMAS, seed=seed)


AGENTS = ["select", "condition", "fixer-fixed", "fixer-aware", "selector"]


def prompt_of(example: SftExample) -> str:
    return example.messages[0].content


def number_in(text: str) -> int:
    return int(text.partition("older than ")[2].partition("?")[0])


class LeavesOut:
    """The rule teacher, but with no answer for what mentions some text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def plans(self, tasks: Sequence[PlanTask]) -> list[str | None]:
        return [
            None if self._text in task.gold_sql else plan
            for task, plan in zip(tasks, TEACHER.plans(tasks), strict=True)
        ]

    def critiques(self, tasks: Sequence[CritiqueTask]) -> list[Critique | None]:
        return [
            None if self._text in task.review.sql else critique
            for task, critique in zip(tasks, TEACHER.critiques(tasks), strict=True)
        ]


@pytest.mark.parametrize("agent", AGENTS)
@given(order=st.randoms(use_true_random=False), repeated=st.integers(0, 5))
def test_the_order_and_repetition_of_the_input_change_nothing(agent: str, order: random.Random, repeated: int) -> None:
    data = reviews(6)
    mixed = data + data[:repeated]
    order.shuffle(mixed)
    assert build(agent, mixed) == build(agent, data)


@pytest.mark.parametrize("agent", AGENTS)
def test_examples_have_distinct_ids_and_prompts_and_no_empty_or_end_marked_answer(agent: str) -> None:
    examples = build(agent, reviews())
    assert examples
    assert len({example.example_id for example in examples}) == len(examples)
    assert len({example.messages for example in examples}) == len(examples)
    assert all(example.answer == example.answer.strip() != "" for example in examples)
    assert not any("<|" in example.answer or "</s>" in example.answer for example in examples)


@pytest.mark.parametrize("agent", AGENTS)
def test_the_seed_chooses_which_examples_are_taken_and_in_which_order(agent: str) -> None:
    one, same, other = (build(agent, reviews(), seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert set(one) != set(other)
    shared = set(one) & set(other)
    assert [item for item in one if item in shared] != [item for item in other if item in shared]


@pytest.mark.parametrize("agent", AGENTS)
def test_nothing_to_learn_from_gives_no_examples(agent: str) -> None:
    assert build(agent, []) == []


def test_a_plan_ends_in_its_own_questions_gold() -> None:
    questions = [Question(number, "music", f"Who is older than {number}?") for number in range(20)]
    golds = {number: gold_of(number) for number in range(20)}
    examples = planner_examples(questions, lambda _: "table singer", golds, SCHEMAS, TEACHER)
    assert [example.example_id for example in examples] == [f"planner:{number}" for number in range(20)]
    for example in examples:
        assert parse_plan(example.answer).sql == golds[number_in(prompt_of(example))]


def test_a_question_without_a_plan_is_left_out_and_shifts_no_other() -> None:
    questions = [Question(number, "music", f"Who is older than {number}?") for number in range(20)]
    golds = {number: gold_of(number) for number in range(20)}
    examples = planner_examples(questions, lambda _: "", golds, SCHEMAS, LeavesOut("> 7"))
    assert len(examples) == 19
    assert all(parse_plan(example.answer).sql == golds[number_in(prompt_of(example))] for example in examples)


@pytest.mark.parametrize("validator", Validator)
def test_half_of_a_validators_examples_conclude_incorrect(validator: Validator) -> None:
    examples = build(validator.value, reviews())
    verdicts = [parse_critique(validator, example.answer).verdict for example in examples]
    assert verdicts.count(Verdict.CORRECT) == verdicts.count(Verdict.INCORRECT) == 40


@pytest.mark.parametrize("validator", Validator)
def test_a_validators_answer_is_the_teachers_critique_of_the_sql_in_its_prompt(validator: Validator) -> None:
    for example in build(validator.value, reviews()):
        sql = prompt_of(example).partition("Generated SQL query: ")[2].splitlines()[0]
        gold = gold_of(number_in(prompt_of(example)))
        assert example.answer == write_critique(validator, sql, gold, SCHEMA).text


@pytest.mark.parametrize("validator", Validator)
def test_a_correct_sql_written_unlike_the_gold_is_approved(validator: Validator) -> None:
    other = "SELECT MAX(name) FROM singer GROUP BY id HAVING MAX(age) > 1"
    data = [labelled(1, other, gold_of(1), correct=True)]
    [example] = build(validator.value, data)
    assert parse_critique(validator, example.answer).verdict is Verdict.CORRECT


def test_a_wrong_sql_is_approved_by_the_validator_that_is_not_concerned() -> None:
    data = [labelled(1, "SELECT id FROM singer WHERE age > 1", gold_of(1), correct=False)]
    assert "Conclude: incorrect." in build("select", data)[0].answer
    assert "Conclude: correct." in build("condition", data)[0].answer


def test_critiques_that_a_teacher_leaves_out_shift_no_other() -> None:
    examples = validator_examples(Validator.SELECT, reviews(), LeavesOut("> 7"), schemas=SCHEMAS, seed=0)
    for example in examples:
        sql = prompt_of(example).partition("Generated SQL query: ")[2].splitlines()[0]
        assert "> 7" not in sql
        gold = gold_of(number_in(prompt_of(example)))
        assert example.answer == write_critique(Validator.SELECT, sql, gold, SCHEMA).text


@pytest.mark.parametrize("mode", FixerCritique)
def test_a_fix_is_the_bare_gold_for_a_wrong_sql_and_the_sql_itself_for_a_correct_one(mode: FixerCritique) -> None:
    kept = 0
    for example in build(f"fixer-{mode.value}", reviews()):
        sql = prompt_of(example).partition("Generated SQL query: ")[2].splitlines()[0]
        gold = gold_of(number_in(prompt_of(example)))
        correct = sql == gold.lower()
        kept += correct
        assert example.answer == (sql if correct else gold)
        assert parse_fix(example.answer).sql == example.answer
    assert kept > 0


def feedback_in(example: SftExample) -> str:
    return prompt_of(example).partition("Feedback for the SQL query:\n")[2].partition("\n\nFIXED SQL:")[0]


def test_every_example_of_a_fixed_fixer_has_the_one_identical_critique() -> None:
    assert {feedback_in(example) for example in build("fixer-fixed", reviews())} == {FIXED_CRITIQUE}


def test_each_example_of_an_aware_fixer_has_its_own_complaint_and_no_approval() -> None:
    examples = build("fixer-aware", reviews())
    complained = [example for example in examples if feedback_in(example) != NO_COMPLAINT]
    assert len({feedback_in(example) for example in complained}) > len(complained) / 2
    assert all("Conclude: incorrect." in feedback_in(example) for example in complained)
    assert not any("Conclude: correct." in feedback_in(example) for example in examples)


def test_an_aware_fixer_learns_to_keep_a_right_sql_that_nobody_complains_about() -> None:
    untold = [example for example in build("fixer-aware", reviews()) if feedback_in(example) == NO_COMPLAINT]
    assert untold
    for example in untold:
        assert example.answer == prompt_of(example).partition("Generated SQL query: ")[2].splitlines()[0]


def test_an_aware_fixer_is_told_what_the_gold_has_when_the_sql_is_wrong() -> None:
    data = [labelled(3, "SELECT name FROM singer WHERE age < 3", gold_of(3), correct=False)]
    [example] = build("fixer-aware", data)
    assert "The question asks for: FROM singer WHERE singer.age > 3" in feedback_in(example)


@pytest.mark.parametrize("mode", FixerCritique)
def test_at_most_the_stated_share_keeps_a_right_sql(mode: FixerCritique) -> None:
    examples = build(f"fixer-{mode.value}", reviews())
    kept = sum(example.answer == example.answer.lower() for example in examples)
    assert KEPT_SHARE * 0.9 <= kept / len(examples) <= KEPT_SHARE


def test_a_false_alarm_of_an_aware_fixer_asks_for_what_a_wrong_sql_of_the_question_has() -> None:
    data = [labelled(1, gold_of(1), gold_of(1), correct=True)]
    data += [labelled(1, f"SELECT id FROM singer WHERE age > 1 LIMIT {n}", gold_of(1), correct=False) for n in range(5)]
    [alarm] = [example for example in build("fixer-aware", data) if f"query: {gold_of(1)}\n" in prompt_of(example)]
    assert "The question asks for: singer.id" in feedback_in(alarm)
    assert alarm.answer == gold_of(1)


def test_the_selector_says_yes_to_the_correct_and_no_to_as_many_wrong() -> None:
    examples = build("selector", reviews())
    answers = [example.answer for example in examples]
    assert answers.count(YES) == answers.count(NO) == 40
    for example in examples:
        sql = prompt_of(example).partition("Generated SQL query: ")[2].splitlines()[0]
        assert example.answer == (YES if sql == sql.lower() else NO)


def test_the_selector_sees_the_verdicts_of_the_record() -> None:
    critiques = (
        Critique(Validator.SELECT, "text", Verdict.MISSING),
        Critique(Validator.CONDITION, "", Verdict.CORRECT),
    )
    [example] = build("selector", [labelled(1, gold_of(1), gold_of(1), correct=True, critiques=critiques)])
    assert "select : missing\ncondition : correct" in prompt_of(example)


def test_one_sql_with_two_sets_of_critiques_is_two_selector_examples() -> None:
    critique = Critique(Validator.SELECT, "text", Verdict.CORRECT)
    data = [labelled(1, gold_of(1), gold_of(1), correct=True, critiques=found) for found in ((), (critique,))]
    assert len(build("selector", data)) == 2


@pytest.mark.parametrize("agent", ["select", "condition", "selector"])
def test_with_one_label_only_there_is_nothing_to_balance(agent: str) -> None:
    data = [item for item in reviews() if item.correct]
    assert len(build(agent, data)) == len(data)
