"""The inference flow of a team: plans, critiques, fixes, selection (DESIGN.md, section 4).

A team sees questions, schema texts and what its own SQL returns. It knows no gold and no judge; a test reads this
package's imports. What is decided between the agents' turns is in :mod:`mats_sql.team.policy`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from mats_sql.agents import (
    NO,
    VALIDATOR_MESSAGES,
    YES,
    Critique,
    Plan,
    Review,
    Validator,
    feedback_text,
    fixer_messages,
    parse_critique,
    parse_fix,
    parse_plan,
    planner_messages,
    response_text,
    selector_messages,
)
from mats_sql.benchmark import Question
from mats_sql.choices import Gate, PoolRule, SelectorRule
from mats_sql.config import GenerationSettings, Policy
from mats_sql.generation import Engine, Request, Sampling
from mats_sql.sql import Execution, Outcome, SqlRequest
from mats_sql.team.policy import PLAN, Candidate, join_fix, select, selector_critiques, wants_fix, with_groups

NO_SQL = Execution(Outcome.ERROR, error="the answer contains no SQL")


class Executor(Protocol):
    """Executes SQL: on files in workers (``SqlExecutor``), or on a server (``ServerExecutor``)."""

    def execute_many(self, requests: Iterable[SqlRequest]) -> Iterator[Execution]:
        """Yield one execution per request, in request order."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """A question with its schema text and the database its SQL runs on: a file, or a server's database by its name."""

    question: Question
    schema_text: str
    database: Path

    def review(self, sql: str | None, response: str) -> Review:
        """Return the review of a SQL that answers this task, with its execution's response text; no SQL is empty."""
        return Review(self.question, self.schema_text, sql or "", response)


@dataclass(frozen=True, slots=True)
class Agents:
    """The engines of one team. Without validators or fixer their steps are skipped."""

    planner: Engine
    validators: Mapping[Validator, Engine]
    fixer: Engine | None
    selector: Engine | None


@dataclass(frozen=True, slots=True)
class TeamAnswer:
    """All candidates of one question; exactly one is selected."""

    task: Task
    candidates: tuple[Candidate, ...]

    @property
    def selected(self) -> Candidate:
        """The candidate that the selector rule picked."""
        return next(candidate for candidate in self.candidates if candidate.selected)


@dataclass(frozen=True, slots=True)
class Fix:
    """The fixer's SQL for one plan (``None``: it gave none) and what that SQL gives."""

    sql: str | None
    execution: Execution


FixKey = tuple[int, str | None]
"""(position of the task, the plan's SQL): equal plans have one fix."""

Fixes = Mapping[FixKey, Fix]


@dataclass(frozen=True, slots=True)
class Team:
    """One version of each agent plus a policy."""

    agents: Agents
    policy: Policy
    generation: GenerationSettings
    executor: Executor
    seed: int = 0

    def answer_many(self, tasks: Sequence[Task]) -> list[TeamAnswer]:
        """Return an answer per task, in order. Equal SQL and equal prompts are computed once.

        Each agent is asked for all tasks at once before the next one is: with room for one checkpoint only
        (``generation.loaded_models``) a call loads each agent once, however many tasks it has.
        """
        plans = self.plans(tasks)
        return self.conclude(tasks, plans, self.fixes(tasks, plans))

    def answer(self, task: Task) -> TeamAnswer:
        """Return the answer to one task."""
        return self.answer_many([task])[0]

    def plans(self, tasks: Sequence[Task]) -> list[list[Candidate]]:
        """Return each task's plans, executed, with the validators' critiques of them."""
        return self._criticise(tasks, self._drawn(tasks))

    def fixes(self, tasks: Sequence[Task], plans: Sequence[Sequence[Candidate]]) -> Fixes:
        """Return the fixer's answer to every plan that the gate lets through, told that plan's critiques."""
        if self.agents.fixer is None:
            return {}
        wanted = {
            (position, plan.sql): plan
            for position, group in enumerate(plans)
            for plan in group
            if wants_fix(self.policy, plan)
        }
        reviews = [(review_of(tasks[position], plan), plan) for (position, _), plan in wanted.items()]
        requests = [
            Request(f"fix:{review.question.question_id}", fixer_messages(review, feedback_text(plan.critiques)))
            for review, plan in reviews
        ]
        texts = greedy(self.agents.fixer, requests, self.generation.fix_tokens)
        return self.executed_fixes(tasks, {key: parse_fix(text).sql for key, text in zip(wanted, texts, strict=True)})

    def executed_fixes(self, tasks: Sequence[Task], sqls: Mapping[FixKey, str] | Mapping[FixKey, str | None]) -> Fixes:
        """Return fixes, whoever wrote them, with what their SQL gives."""
        executions = execute_distinct(self.executor, ((tasks[key[0]].database, sql) for key, sql in sqls.items()))
        return {key: Fix(sql, executions[tasks[key[0]].database, sql]) for key, sql in sqls.items()}

    def conclude(self, tasks: Sequence[Task], plans: Sequence[Sequence[Candidate]], fixes: Fixes) -> list[TeamAnswer]:
        """Return the answers that these plans and fixes give: joined, grouped, scored, one selected."""
        candidates = [
            with_groups([row for plan in group for row in self._with_fix(plan, fixes.get((position, plan.sql)))])
            for position, group in enumerate(plans)
        ]
        if self.policy.selector is SelectorRule.TRAINED and self.agents.selector is not None:
            candidates = self._score(tasks, candidates)
        return [TeamAnswer(task, select(self.policy, group)) for task, group in zip(tasks, candidates, strict=True)]

    def fixing_every_plan(self) -> Team:
        """Return this team with every plan fixed and none replaced: :func:`regate` turns its answers into others."""
        everything = {"gate": Gate.ALWAYS, "pool": PoolRule.KEEP_BOTH}
        return replace(self, policy=self.policy.model_copy(update=everything))

    def _with_fix(self, plan: Candidate, fix: Fix | None) -> list[Candidate]:
        return [plan] if fix is None else join_fix(self.policy, plan, fix.sql, fix.execution)

    def _drawn(self, tasks: Sequence[Task]) -> list[list[Candidate]]:
        requests = [
            Request(f"plan:{task.question.question_id}", planner_messages(task.question, task.schema_text))
            for task in tasks
        ]
        sampling = Sampling(
            n=self.policy.k,
            temperature=self.policy.temperature,
            max_new_tokens=self.generation.plan_tokens,
            greedy_first=True,
            seed=self.seed,
        )
        drawn = self.agents.planner.generate(requests, sampling)
        return self._executed(tasks, [[parse_plan(one.text) for one in completions] for completions in drawn])

    def _executed(self, tasks: Sequence[Task], drawn: Sequence[Sequence[Plan]]) -> list[list[Candidate]]:
        executions = execute_distinct(
            self.executor,
            ((task.database, plan.sql) for task, group in zip(tasks, drawn, strict=True) for plan in group),
        )
        return [
            [
                Candidate(index, PLAN, plan.sql, executions[task.database, plan.sql], (), plan_text=plan.text)
                for index, plan in enumerate(group)
            ]
            for task, group in zip(tasks, drawn, strict=True)
        ]

    def _criticise(self, tasks: Sequence[Task], plans: list[list[Candidate]]) -> list[list[Candidate]]:
        reviews = _distinct_reviews(tasks, plans)
        critiques: dict[tuple[int, str], list[Critique]] = {key: [] for key in reviews}
        for validator, engine in self.agents.validators.items():
            requests = [
                Request(f"{validator.value}:{review.question.question_id}", VALIDATOR_MESSAGES[validator](review))
                for review in reviews.values()
            ]
            texts = greedy(engine, requests, self.generation.critique_tokens)
            for key, text in zip(reviews, texts, strict=True):
                critiques[key].append(parse_critique(validator, text))
        return [
            [
                candidate
                if candidate.sql is None
                else replace(candidate, critiques=tuple(critiques[position, candidate.sql]))
                for candidate in group
            ]
            for position, group in enumerate(plans)
        ]

    def _score(self, tasks: Sequence[Task], candidates: list[list[Candidate]]) -> list[list[Candidate]]:
        assert self.agents.selector is not None
        requests = {
            (position, _prompt_key(row)): selector_request(review_of(tasks[position], row), row)
            for position, group in enumerate(candidates)
            for row in group
            if row.eligible and row.sql is not None
        }
        scores = dict(zip(requests, selector_scores(self.agents.selector, list(requests.values())), strict=True))
        return [
            [replace(row, score=scores.get((position, _prompt_key(row)))) for row in group]
            for position, group in enumerate(candidates)
        ]


def review_of(task: Task, candidate: Candidate) -> Review:
    """Return what validators, fixer and selector are told about a candidate."""
    return task.review(candidate.sql, response_text(candidate.execution))


def selector_request(review: Review, candidate: Candidate) -> Request:
    """Return what the selector is asked about a candidate."""
    prompt = selector_messages(review, selector_critiques(candidate))
    return Request(f"select:{review.question.question_id}", prompt)


def selector_scores(selector: Engine, requests: Sequence[Request]) -> list[float]:
    """Return P(yes) for each of :func:`selector_request`'s requests."""
    logprobs = selector.choice_logprobs(requests, (YES, NO))
    return [math.exp(yes) for yes, _ in logprobs]


def execute_distinct(
    executor: Executor, wanted: Iterable[tuple[Path, str | None]]
) -> dict[tuple[Path, str | None], Execution]:
    """Execute each distinct (database, SQL) once; no SQL is an error."""
    distinct = list(dict.fromkeys(wanted))
    runnable = [(database, sql) for database, sql in distinct if sql is not None]
    executions = executor.execute_many(SqlRequest(database, sql) for database, sql in runnable)
    results: dict[tuple[Path, str | None], Execution] = dict.fromkeys(distinct, NO_SQL)
    results.update(zip(runnable, executions, strict=True))
    return results


def greedy(engine: Engine, requests: Sequence[Request], max_new_tokens: int) -> list[str]:
    """Return the greedy completion of each request; their ids only name them."""
    sampling = Sampling(n=1, temperature=0.0, max_new_tokens=max_new_tokens)
    return [completion.text for (completion,) in engine.generate(requests, sampling)]


def _distinct_reviews(tasks: Sequence[Task], plans: list[list[Candidate]]) -> dict[tuple[int, str], Review]:
    return {
        (position, plan.sql): review_of(tasks[position], plan)
        for position, group in enumerate(plans)
        for plan in group
        if plan.sql is not None
    }


def _prompt_key(candidate: Candidate) -> tuple[str | None, bool]:
    """Return what distinguishes two selector prompts of one question."""
    return candidate.sql, candidate.origin == PLAN
