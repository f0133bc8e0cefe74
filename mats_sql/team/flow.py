"""The inference flow of a team: plans, critiques, fixes, selection (DESIGN.md, section 4).

A team sees questions, schema texts and what its own SQL returns. It knows no gold and no judge; a test reads this
module's imports. Everything that decides an answer is in the :class:`~mats_sql.config.Policy`, so that preference
data (regime ``collab_v2``) replays the very same rules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mats_sql.agents.critique import Critique, Validator, Verdict, parse_critique
from mats_sql.agents.fixer import feedback_text, fixer_messages, parse_fix
from mats_sql.agents.messages import Messages
from mats_sql.agents.planner import parse_plan, planner_messages
from mats_sql.agents.review import Review, response_text
from mats_sql.agents.selector import NO, YES, selector_messages
from mats_sql.agents.validators import VALIDATOR_MESSAGES
from mats_sql.benchmark.question import Question
from mats_sql.choices import Gate, PoolRule, SelectorRule
from mats_sql.config import GenerationSettings, Policy
from mats_sql.generation.engine import Engine, Request, Sampling
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.executor import SqlExecutor, SqlRequest

NO_SQL = Execution(Outcome.ERROR, error="the answer contains no SQL")


@dataclass(frozen=True, slots=True)
class Task:
    """A question with its schema text and the database its SQL runs on."""

    question: Question
    schema_text: str
    database: Path


@dataclass(frozen=True, slots=True)
class Agents:
    """The engines of one team. Without validators or fixer their steps are skipped."""

    planner: Engine
    validators: Mapping[Validator, Engine]
    fixer: Engine | None
    selector: Engine | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One SQL of one plan sample: the plan's own (``origin`` "plan") or the fixer's ("fix")."""

    sample_index: int
    origin: str
    sql: str | None
    execution: Execution
    critiques: tuple[Critique, ...]
    gate_open: bool
    in_pool: bool
    score: float | None = None
    group_size: int = 0
    selected: bool = False


@dataclass(frozen=True, slots=True)
class TeamAnswer:
    """All candidates of one question; exactly one is selected."""

    task: Task
    candidates: tuple[Candidate, ...]

    @property
    def selected(self) -> Candidate:
        """The candidate that the selector rule picked."""
        return next(candidate for candidate in self.candidates if candidate.selected)


def gate_opens(gate: Gate, execution: Execution, critiques: Sequence[Critique]) -> bool:
    """Return whether a SQL goes to the fixer.

    A missing verdict opens no gate: only a critique that concludes *incorrect* complains.
    """
    if gate is Gate.ALWAYS:
        return True
    if not execution.ran:
        return True
    return gate is Gate.ON_COMPLAINT and any(critique.verdict is Verdict.INCORRECT for critique in critiques)


@dataclass(frozen=True, slots=True)
class Team:
    """One version of each agent plus a policy."""

    agents: Agents
    policy: Policy
    generation: GenerationSettings
    executor: SqlExecutor
    seed: int = 0

    def answer_many(self, tasks: Sequence[Task]) -> list[TeamAnswer]:
        """Return an answer per task, in order. Equal SQL and equal prompts are computed once."""
        plans = self._plans(tasks)
        plans = self._criticise(tasks, plans)
        candidates = self._fix(tasks, plans)
        candidates = [with_groups(group) for group in candidates]
        if self.policy.selector is SelectorRule.TRAINED and self.agents.selector is not None:
            candidates = self._score(tasks, candidates)
        return [TeamAnswer(task, select(self.policy, group)) for task, group in zip(tasks, candidates, strict=True)]

    def answer(self, task: Task) -> TeamAnswer:
        """Return the answer to one task."""
        return self.answer_many([task])[0]

    def _plans(self, tasks: Sequence[Task]) -> list[list[Candidate]]:
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
        sqls = [[parse_plan(completion.text).sql for completion in completions] for completions in drawn]
        return self._executed(tasks, sqls)

    def _executed(self, tasks: Sequence[Task], sqls: Sequence[Sequence[str | None]]) -> list[list[Candidate]]:
        executions = execute_distinct(
            self.executor,
            ((task.database, sql) for task, group in zip(tasks, sqls, strict=True) for sql in group),
        )
        return [
            [
                Candidate(index, "plan", sql, executions[task.database, sql], (), gate_open=False, in_pool=True)
                for index, sql in enumerate(group)
            ]
            for task, group in zip(tasks, sqls, strict=True)
        ]

    def _criticise(self, tasks: Sequence[Task], plans: list[list[Candidate]]) -> list[list[Candidate]]:
        reviews = _distinct_reviews(tasks, plans)
        critiques: dict[tuple[int, str], list[Critique]] = {key: [] for key in reviews}
        for validator, engine in self.agents.validators.items():
            texts = greedy(
                engine,
                [VALIDATOR_MESSAGES[validator](review) for review in reviews.values()],
                self.generation.critique_tokens,
            )
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

    def _fix(self, tasks: Sequence[Task], plans: list[list[Candidate]]) -> list[list[Candidate]]:
        if self.agents.fixer is None:
            return plans
        open_plans: dict[tuple[int, str | None], Candidate] = {
            (position, plan.sql): plan
            for position, group in enumerate(plans)
            for plan in group
            if plan.sql is not None and gate_opens(self.policy.gate, plan.execution, plan.critiques)
        }
        prompts = [
            fixer_messages(review_of(tasks[position], plan), feedback_text(plan.critiques))
            for (position, _), plan in open_plans.items()
        ]
        texts = greedy(self.agents.fixer, prompts, self.generation.fix_tokens)
        fixes = {key: parse_fix(text).sql for key, text in zip(open_plans, texts, strict=True)}
        executions = execute_distinct(
            self.executor, ((tasks[position].database, sql) for (position, _), sql in fixes.items())
        )
        return [
            [
                row
                for plan in group
                for row in self._with_fix(plan, tasks[position].database, fixes, executions, position)
            ]
            for position, group in enumerate(plans)
        ]

    def _with_fix(
        self,
        plan: Candidate,
        database: Path,
        fixes: Mapping[tuple[int, str | None], str | None],
        executions: Mapping[tuple[Path, str | None], Execution],
        position: int,
    ) -> list[Candidate]:
        if plan.sql is None or (position, plan.sql) not in fixes:
            return [plan]
        plan = replace(plan, gate_open=True)
        sql = fixes[position, plan.sql]
        if sql is None:
            return [plan]
        fix = replace(plan, origin="fix", sql=sql, execution=executions[database, sql])
        return [replace(plan, in_pool=self.policy.pool is PoolRule.KEEP_BOTH), fix]

    def _score(self, tasks: Sequence[Task], candidates: list[list[Candidate]]) -> list[list[Candidate]]:
        assert self.agents.selector is not None
        wanted = {
            (position, selector_key(row)): row
            for position, group in enumerate(candidates)
            for row in group
            if row.in_pool and row.sql is not None
        }
        requests = [
            Request("select", selector_messages(review_of(tasks[position], row), selector_critiques(row)))
            for (position, _), row in wanted.items()
        ]
        logprobs = self.agents.selector.choice_logprobs(requests, (YES, NO))
        scores = {key: math.exp(yes) for key, (yes, _) in zip(wanted, logprobs, strict=True)}
        return [
            [replace(row, score=scores.get((position, selector_key(row)))) for row in group]
            for position, group in enumerate(candidates)
        ]


def selector_critiques(candidate: Candidate) -> tuple[Critique, ...]:
    """Return the critiques shown to the selector: those written about this very SQL, so none for a fix."""
    return candidate.critiques if candidate.origin == "plan" else ()


def selector_key(candidate: Candidate) -> tuple[str | None, bool]:
    """Return what distinguishes two selector prompts of one question."""
    return candidate.sql, candidate.origin == "plan"


def review_of(task: Task, candidate: Candidate) -> Review:
    """Return what validators, fixer and selector are told about a candidate."""
    return Review(task.question, task.schema_text, candidate.sql or "", response_text(candidate.execution))


def with_groups(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates with the number of pool rows that share each one's result; 0 when it did not run."""
    sizes = Counter(row.execution.digest for row in candidates if row.in_pool and row.execution.ran)
    return [replace(row, group_size=sizes[row.execution.digest] if row.execution.ran else 0) for row in candidates]


def select(policy: Policy, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates with exactly one selected; ties go to the smallest sample index."""
    pool_size = sum(row.in_pool for row in candidates)

    def preference(position: int) -> tuple[bool, bool, float, int]:
        row = candidates[position]
        if policy.selector is SelectorRule.FIRST:
            return row.in_pool, True, 0.0, -position
        support = row.group_size / pool_size
        if policy.selector is SelectorRule.MAJORITY:
            return row.in_pool, row.execution.ran, support, -position
        return row.in_pool, row.execution.ran, (row.score or 0.0) + policy.agreement_weight * support, -position

    best = max(range(len(candidates)), key=preference)
    return tuple(replace(row, selected=position == best) for position, row in enumerate(candidates))


def execute_distinct(
    executor: SqlExecutor, wanted: Iterable[tuple[Path, str | None]]
) -> dict[tuple[Path, str | None], Execution]:
    """Execute each distinct (database, SQL) once; no SQL is an error."""
    distinct = list(dict.fromkeys(wanted))
    runnable = [(database, sql) for database, sql in distinct if sql is not None]
    executions = executor.execute_many(SqlRequest(database, sql) for database, sql in runnable)
    results: dict[tuple[Path, str | None], Execution] = dict.fromkeys(distinct, NO_SQL)
    results.update(zip(runnable, executions, strict=True))
    return results


def greedy(engine: Engine, prompts: Sequence[Messages], max_new_tokens: int) -> list[str]:
    """Return the greedy completion of each prompt."""
    sampling = Sampling(n=1, temperature=0.0, max_new_tokens=max_new_tokens)
    completions = engine.generate([Request("greedy", messages) for messages in prompts], sampling)
    return [completion.text for (completion,) in completions]


def _distinct_reviews(tasks: Sequence[Task], plans: list[list[Candidate]]) -> dict[tuple[int, str], Review]:
    return {
        (position, plan.sql): review_of(tasks[position], plan)
        for position, group in enumerate(plans)
        for plan in group
        if plan.sql is not None
    }
