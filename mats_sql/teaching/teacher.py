"""The teacher: plans and critiques for supervised training, written by someone who is shown the gold SQL.

The rule-based teacher compares syntax trees. Its critique says what the SQL does and what the gold does, so that a
fixer that reads critiques has something to use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mats_sql.agents import Critique, Review, Validator, Verdict, critique_answer, planner_answer
from mats_sql.benchmark import Question, Schema, quote_name
from mats_sql.teaching.outline.outline import Outline, outline

UNREADABLE = "nothing readable"
"""What a critique says of text that is not one ``SELECT`` statement."""


@dataclass(frozen=True, slots=True)
class PlanTask:
    """A plan to write: the question, and the SQL that the plan must end in."""

    question: Question
    schema: Schema
    schema_text: str
    gold_sql: str


@dataclass(frozen=True, slots=True)
class CritiqueTask:
    """A critique to write: the SQL under review, and the SQL it should have been."""

    validator: Validator
    review: Review
    schema: Schema
    gold_sql: str


class Teacher(Protocol):
    """Write training targets. ``None`` stands where a teacher has no usable answer; the example is left out."""

    def plans(self, tasks: Sequence[PlanTask]) -> list[str | None]:
        """Return a plan per task, in their order, in :func:`~mats_sql.agents.planner.planner_answer`'s format."""
        ...

    def critiques(self, tasks: Sequence[CritiqueTask]) -> list[Critique | None]:
        """Return a critique per task, in their order, in :func:`~mats_sql.agents.critique.critique_answer`'s format."""
        ...


class RuleTeacher:
    """The teacher that needs no model: it always has an answer, and always the same one."""

    def plans(self, tasks: Sequence[PlanTask]) -> list[str | None]:
        """Return :func:`write_plan` of each task."""
        return [write_plan(task.gold_sql, task.schema) for task in tasks]

    def critiques(self, tasks: Sequence[CritiqueTask]) -> list[Critique | None]:
        """Return :func:`write_critique` of each task."""
        return [write_critique(task.validator, task.review.sql, task.gold_sql, task.schema) for task in tasks]


def write_plan(gold_sql: str, schema: Schema) -> str:
    """Return the plan that ends in the gold SQL, word for word."""
    found, sql = outline(gold_sql, schema), statement(gold_sql)
    if found is None:
        return planner_answer(UNREADABLE, UNREADABLE, UNREADABLE, sql)
    tables = ", ".join(quote_name(name) for name in found.tables) or "none"
    return planner_answer(found.selects, found.condition, tables, sql)


def write_critique(validator: Validator, sql: str, gold_sql: str, schema: Schema) -> Critique:
    """Return what a validator should say about a SQL: what it does, what the gold does, and whether they agree.

    They agree when their outlines' keys are equal (see ``outline``); then both lines are the SQL's own, so that one
    look tells agreement. Text that is no ``SELECT`` agrees with nothing but itself.
    """
    found, wanted = outline(sql, schema), outline(gold_sql, schema)
    correct = _agree(validator, found, wanted) if found and wanted else statement(sql) == statement(gold_sql)
    shown = _shown(validator, found)
    asked = shown if correct else _asked(validator, found, wanted)
    text = critique_answer(validator, shown, asked, correct=correct)
    return Critique(validator, text, Verdict.CORRECT if correct else Verdict.INCORRECT)


def statement(sql: str) -> str:
    """Return a SQL without the space around it and the semicolon that ends it."""
    return sql.strip().removesuffix(";").rstrip()


def _agree(validator: Validator, found: Outline, wanted: Outline) -> bool:
    if validator is Validator.SELECT:
        # A join that only one of them has makes other columns equal in its keys; the same text is the same list still.
        return found.selects == wanted.selects or found.select_key == wanted.select_key
    return found.condition_key == wanted.condition_key


def _asked(validator: Validator, found: Outline | None, wanted: Outline | None) -> str:
    """Return what the gold does; its joins are said where the SQL's own are along no foreign key."""
    if validator is Validator.CONDITION and found is not None and wanted is not None and found.joins_astray:
        return wanted.keeps_with_joins
    return _shown(validator, wanted)


def _shown(validator: Validator, found: Outline | None) -> str:
    if found is None:
        return UNREADABLE
    return found.selects if validator is Validator.SELECT else found.keeps
