"""Supervised examples of every agent, from labelled questions and SQLs: pure functions of their inputs and a seed.

A label travels in its record, never beside it, so no filter can shift it. What is taken depends on what an example is
(its id) and on the seed, never on the order of the input; equal (question, SQL) count once. Only usable records give
examples: nothing is padded with empty text, and no end marker is written into an answer (the chat template's job).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from mats_sql.agents import (
    FIXED_CRITIQUE,
    FIXER,
    NO,
    NO_COMPLAINT,
    PLANNER,
    SELECTOR,
    VALIDATOR_MESSAGES,
    YES,
    Critique,
    Messages,
    Review,
    Validator,
    Verdict,
    as_dicts,
    feedback_text,
    fixer_messages,
    planner_messages,
    selector_messages,
    validator_name,
)
from mats_sql.benchmark import Question, Schema
from mats_sql.choices import FixerCritique
from mats_sql.digests import digest_json
from mats_sql.seeds import derive_seed
from mats_sql.teaching.example import SftExample
from mats_sql.teaching.teacher import CritiqueTask, PlanTask, Teacher, statement

KEPT_SHARE = 0.25
"""Part of the fixer's examples in which the SQL is right and the answer keeps it: under a false alarm, or untold."""


@dataclass(frozen=True, slots=True)
class LabelledReview:
    """A SQL under review with what is known of it: critiques it got (may be none), its label and its gold SQL."""

    review: Review
    critiques: tuple[Critique, ...]
    correct: bool
    gold_sql: str


def planner_examples(
    questions: Sequence[Question],
    schema_text_for: Callable[[Question], str],
    golds: Mapping[int, str],
    schemas: Mapping[str, Schema],
    teacher: Teacher,
) -> list[SftExample]:
    """Return one plan to learn per question, in their order; a question the teacher has no plan for is left out."""
    tasks = [
        PlanTask(question, schemas[question.db_id], schema_text_for(question), golds[question.question_id])
        for question in questions
    ]
    return [
        SftExample(f"{PLANNER}:{task.question.question_id}", planner_messages(task.question, task.schema_text), plan)
        for task, plan in zip(tasks, teacher.plans(tasks), strict=True)
        if plan is not None
    ]


def validator_examples(
    validator: Validator,
    reviews: Sequence[LabelledReview],
    teacher: Teacher,
    *,
    schemas: Mapping[str, Schema],
    seed: int,
) -> list[SftExample]:
    """Return critiques to learn, as many that conclude correct as incorrect.

    A correct SQL is compared with itself: written differently from the gold, it is right all the same. A wrong SQL may
    well get an approving critique, when its fault is not this validator's to find. With one conclusion only, nothing
    can be balanced and all are returned.
    """
    references = [item.review.sql if item.correct else item.gold_sql for item in reviews]
    tasks = [
        CritiqueTask(validator, item.review, schemas[item.review.question.db_id], reference)
        for item, reference in zip(reviews, references, strict=True)
    ]
    examples: dict[Verdict, list[SftExample]] = {Verdict.CORRECT: [], Verdict.INCORRECT: [], Verdict.MISSING: []}
    for task, critique in zip(tasks, teacher.critiques(tasks), strict=True):
        if critique is not None:
            messages = VALIDATOR_MESSAGES[validator](task.review)
            example = _example(validator_name(validator), task.review, messages, critique.text)
            examples[critique.verdict].append(example)
    return _balanced(examples[Verdict.CORRECT], examples[Verdict.INCORRECT], seed)


def fixer_examples(
    reviews: Sequence[LabelledReview],
    teacher: Teacher,
    *,
    schemas: Mapping[str, Schema],
    mode: FixerCritique,
    seed: int,
) -> list[SftExample]:
    """Return fixes to learn: the gold SQL for a wrong SQL, the SQL itself for a correct one.

    In mode ``fixed`` every example has the one identical critique. In mode ``aware`` each has the teacher's own. A part
    of at most :data:`KEPT_SHARE` keeps a correct SQL: half of them under a false alarm, which is the teacher's critique
    against a wrong SQL of the same question, half where nobody complains.
    """
    wrong = [item for item in reviews if not item.correct]
    right = [item for item in reviews if item.correct]
    if mode is FixerCritique.FIXED:
        told, alarms = [(item, FIXED_CRITIQUE) for item in wrong], [(item, FIXED_CRITIQUE) for item in right]
        untold: list[tuple[LabelledReview, str]] = []
    else:
        told = _taught(wrong, [item.gold_sql for item in wrong], teacher, schemas)
        mistaken = _with_wrong_sibling(right, wrong, seed)
        alarms = [
            (item, text)
            for item, text in _taught([item for item, _ in mistaken], [sql for _, sql in mistaken], teacher, schemas)
            if text != NO_COMPLAINT
        ]
        untold = [(item, NO_COMPLAINT) for item in right]
    fixes = _shuffled([_fix(item, text, item.gold_sql) for item, text in told], seed)
    alarmed, quiet = (
        _shuffled([_fix(item, text, item.review.sql) for item, text in keeps], seed) for keeps in (alarms, untold)
    )
    kept = int(len(fixes) * KEPT_SHARE / (1 - KEPT_SHARE))
    half = min(len(quiet), kept // 2)
    return _shuffled(fixes + alarmed[: kept - half] + quiet[:half], seed)


def selector_examples(reviews: Sequence[LabelledReview], *, seed: int) -> list[SftExample]:
    """Return judgements to learn, as many yes as no; with one label only, all are returned."""
    yes, no = (
        [
            _example(SELECTOR, item.review, selector_messages(item.review, item.critiques), answer)
            for item in reviews
            if item.correct is label
        ]
        for label, answer in ((True, YES), (False, NO))
    )
    return _balanced(yes, no, seed)


def _fix(item: LabelledReview, feedback: str, sql: str) -> SftExample:
    return _example(FIXER, item.review, fixer_messages(item.review, feedback), statement(sql))


def _taught(
    items: Sequence[LabelledReview], references: Sequence[str], teacher: Teacher, schemas: Mapping[str, Schema]
) -> list[tuple[LabelledReview, str]]:
    """Return each record with the teacher's feedback against its reference; without all critiques it is left out."""
    tasks = [
        CritiqueTask(validator, item.review, schemas[item.review.question.db_id], reference)
        for item, reference in zip(items, references, strict=True)
        for validator in Validator
    ]
    critiques = iter(teacher.critiques(tasks))
    found = []
    for item in items:
        own = [critique for critique in islice(critiques, len(Validator)) if critique is not None]
        if len(own) == len(Validator):
            found.append((item, feedback_text(own)))
    return found


def _with_wrong_sibling(
    right: Sequence[LabelledReview], wrong: Sequence[LabelledReview], seed: int
) -> list[tuple[LabelledReview, str]]:
    """Return each correct record whose question has wrong SQLs, with one of these."""
    siblings: dict[int, set[str]] = {}
    for item in wrong:
        siblings.setdefault(item.review.question.question_id, set()).add(item.review.sql)
    return [
        (item, min(found, key=lambda sql: derive_seed(seed, "sibling", item.review.sql, sql)))
        for item in right
        if (found := siblings.get(item.review.question.question_id))
    ]


def _example(agent: str, review: Review, messages: Messages, answer: str) -> SftExample:
    prompt = digest_json(as_dicts(messages))[:16]
    return SftExample(f"{agent}:{review.question.question_id}:{prompt}", messages, answer)


def _balanced(first: Sequence[SftExample], second: Sequence[SftExample], seed: int) -> list[SftExample]:
    one, other = _shuffled(first, seed), _shuffled(second, seed)
    each = min(len(one), len(other)) or max(len(one), len(other))
    return _shuffled(one[:each] + other[:each], seed)


def _shuffled(examples: Sequence[SftExample], seed: int) -> list[SftExample]:
    """Return the distinct examples in an order that depends on their ids and the seed alone."""
    distinct = {example.example_id: example for example in sorted(examples, key=lambda example: example.answer)}
    return sorted(distinct.values(), key=lambda example: derive_seed(seed, "sft-order", example.example_id))
