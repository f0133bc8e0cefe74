"""What a team's agents were asked and what they said about one question, in the order of their turns.

:func:`spoken` keeps of an answer what cannot be computed again, a flat record per candidate; :func:`turns` rebuilds
every prompt from it and the task. Neither is told a gold or a verdict of the judge, so no turn can hold one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mats_sql.agents import (
    FIXER,
    PLANNER,
    SELECTOR,
    VALIDATOR_MESSAGES,
    Critique,
    Messages,
    Review,
    Validator,
    feedback_text,
    fixer_messages,
    parse_critique,
    planner_messages,
    response_text,
    selector_messages,
    validator_name,
)
from mats_sql.sql import Outcome
from mats_sql.team.flow import Task, TeamAnswer
from mats_sql.team.policy import PLAN, Candidate


@dataclass(frozen=True, slots=True)
class Spoken:
    """A candidate with the words that made it. ``text`` is the planner's whole answer, empty for a fix.

    ``response`` is what the agents were shown of the SQL's execution. A critique is about the plan's SQL and null where
    the validator was not asked. The other fields are the candidate's own.
    """

    question_id: int
    sample_index: int
    origin: str
    sql: str | None
    text: str
    outcome: Outcome
    response: str
    select_critique: str | None
    condition_critique: str | None
    gate_open: bool
    eligible: bool
    selected: bool
    score: float | None
    group_size: int

    @property
    def critiques(self) -> tuple[Critique, ...]:
        """The critiques of the plan's SQL, with their verdicts."""
        said = {Validator.SELECT: self.select_critique, Validator.CONDITION: self.condition_critique}
        return tuple(parse_critique(validator, text) for validator, text in said.items() if text is not None)


@dataclass(frozen=True, slots=True)
class Turn:
    """One agent's turn: its prompt, what it said, the SQL it is about or gave, and what came of running that.

    ``samples`` are the plans (counted from 0) that share it; ``verdict`` is a critique's, ``score`` the selector's
    P(yes).
    """

    agent: str
    samples: tuple[int, ...]
    messages: Messages
    said: str
    sql: str
    response: str = ""
    verdict: str = ""
    score: float | None = None


def spoken(answer: TeamAnswer) -> list[Spoken]:
    """Return a record per candidate of an answer, in the candidates' order."""
    return [_spoken(answer.task.question.question_id, candidate) for candidate in answer.candidates]


def turns(task: Task, rows: Sequence[Spoken]) -> list[Turn]:
    """Return every turn about a question, agent by agent within a plan; plans with one SQL share their turns."""
    plans = [row for row in rows if row.origin == PLAN]
    fixes = {row.sample_index: row for row in rows if row.origin != PLAN}
    groups: dict[str | None, list[Spoken]] = {}
    for plan in plans:
        groups.setdefault(plan.sql, []).append(plan)
    found = [turn for group in groups.values() for turn in _plan_turns(task, group, fixes)]
    return [*found, *_selections(task, rows)]


def _spoken(question_id: int, row: Candidate) -> Spoken:
    said = {critique.validator: critique.text for critique in row.critiques}
    return Spoken(
        question_id=question_id,
        sample_index=row.sample_index,
        origin=row.origin,
        sql=row.sql,
        text=row.plan_text if row.origin == PLAN else "",
        outcome=row.execution.outcome,
        response=response_text(row.execution),
        select_critique=said.get(Validator.SELECT),
        condition_critique=said.get(Validator.CONDITION),
        gate_open=row.gate_open,
        eligible=row.eligible,
        selected=row.selected,
        score=row.score,
        group_size=row.group_size,
    )


def _plan_turns(task: Task, group: Sequence[Spoken], fixes: dict[int, Spoken]) -> Iterator[Turn]:
    plan, samples = group[0], tuple(row.sample_index for row in group)
    prompt = planner_messages(task.question, task.schema_text)
    yield Turn(PLANNER, samples, prompt, plan.text, plan.sql or "", plan.response)
    review = task.review(plan.sql, plan.response)
    for critique in plan.critiques:
        asked = VALIDATOR_MESSAGES[critique.validator](review)
        name, verdict = validator_name(critique.validator), critique.verdict.value
        yield Turn(name, samples, asked, critique.text, review.sql, verdict=verdict)
    if plan.gate_open:
        fix = fixes.get(plan.sample_index)
        asked = fixer_messages(review, feedback_text(plan.critiques))
        sql, response = (fix.sql or "", fix.response) if fix else ("", "")
        yield Turn(FIXER, samples, asked, sql or "(no SQL)", sql, response)


def _selections(task: Task, rows: Sequence[Spoken]) -> Iterator[Turn]:
    """Yield what the selector was asked: each distinct SQL and origin that it scored."""
    asked: dict[tuple[str | None, bool], list[Spoken]] = {}
    for row in rows:
        if row.score is not None:
            asked.setdefault((row.sql, row.origin == PLAN), []).append(row)
    for (_, is_plan), group in asked.items():
        row, samples = group[0], tuple(one.sample_index for one in group)
        review: Review = task.review(row.sql, row.response)
        prompt = selector_messages(review, row.critiques if is_plan else ())
        assert row.score is not None
        yield Turn(SELECTOR, samples, prompt, f"P(yes) = {row.score:.4f}", row.sql or "", score=row.score)
