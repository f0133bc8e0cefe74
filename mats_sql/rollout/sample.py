"""Draw a pool: plans first, then critiques of every distinct SQL, then fixes under those critiques.

Labels come from the judge and are written into each record as it is made. What each step draws depends on
(seed, item, sample index) alone, so a larger K extends a smaller one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mats_sql.agents import (
    VALIDATOR_MESSAGES,
    Critique,
    Review,
    Validator,
    feedback_text,
    fixer_messages,
    parse_critique,
    parse_fix,
    parse_plan,
    planner_messages,
    response_text,
)
from mats_sql.config import GenerationSettings, RolloutSettings
from mats_sql.digests import digest_text
from mats_sql.generation import Completion, Engine, Request, Sampling
from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, review_id
from mats_sql.sql import Execution, Judge, JudgeItem, Judgement
from mats_sql.team import Task

FixRequest = tuple[str, tuple[int, int], str]
"""(review id, (select index, condition index), feedback)."""


@dataclass(frozen=True, slots=True)
class Source:
    """The tasks of a split with the gold SQL of each: what the labeler needs."""

    tasks: Mapping[int, Task]
    golds: Mapping[int, str]

    def part(self, question_ids: Collection[int]) -> Source:
        """Return these questions alone, in the order they have here."""
        kept = [question_id for question_id in self.tasks if question_id in question_ids]
        return Source({key: self.tasks[key] for key in kept}, {key: self.golds[key] for key in kept})


@dataclass(frozen=True, slots=True)
class Sampler:
    """How to draw: settings shared by the three steps."""

    rollout: RolloutSettings
    generation: GenerationSettings
    judge: Judge
    seed: int

    def plans(self, source: Source, planner: Engine) -> list[PlanRow]:
        """Return ``rollout.plans`` judged plans per question; sample 0 is greedy."""
        tasks = list(source.tasks.values())
        requests = [
            Request(f"plan:{task.question.question_id}", planner_messages(task.question, task.schema_text))
            for task in tasks
        ]
        drawn = planner.generate(requests, self._sampling(self.rollout.plans, self.generation.plan_tokens))
        answers = [
            (task.question.question_id, index, completion)
            for task, completions in zip(tasks, drawn, strict=True)
            for index, completion in enumerate(completions)
        ]
        sqls = [(question_id, parse_plan(completion.text).sql) for question_id, _, completion in answers]
        return [
            _plan_row(source.tasks[question_id], index, completion, sql, *found)
            for (question_id, index, completion), (_, sql), found in zip(
                answers, sqls, self._judged(source, sqls), strict=True
            )
        ]

    def critiques(self, reviews: Mapping[str, Review], validator: Validator, engine: Engine) -> list[CritiqueRow]:
        """Return ``rollout.critiques`` critiques of every reviewed SQL; sample 0 is greedy."""
        requests = [
            Request(f"{validator.value}:{identity}", VALIDATOR_MESSAGES[validator](review))
            for identity, review in reviews.items()
        ]
        drawn = engine.generate(requests, self._sampling(self.rollout.critiques, self.generation.critique_tokens))
        return [
            CritiqueRow(
                critique_id=f"{identity}-{validator.value}-{index}",
                review_id=identity,
                question_id=review.question.question_id,
                validator=validator,
                sample_index=index,
                text=completion.text,
                verdict=parse_critique(validator, completion.text).verdict,
                token_count=completion.token_count,
            )
            for (identity, review), completions in zip(reviews.items(), drawn, strict=True)
            for index, completion in enumerate(completions)
        ]

    def fixes(
        self, source: Source, reviews: Mapping[str, Review], critiques: Sequence[CritiqueRow], fixer: Engine
    ) -> list[FixRow]:
        """Return ``rollout.fixes`` fixes per reviewed SQL and critique, the other validator's critique held at 0."""
        wanted = [
            (identity, pair, feedback)
            for identity, options in _by_review(critiques).items()
            for pair, feedback in _feedbacks(options)
        ]
        return self.fixes_under(source, reviews, wanted, fixer)

    def fixes_under(
        self, source: Source, reviews: Mapping[str, Review], wanted: Sequence[FixRequest], fixer: Engine
    ) -> list[FixRow]:
        """Return ``rollout.fixes`` fixes per request; requests of equal SQL and feedback are drawn once."""
        distinct = list(dict.fromkeys((identity, feedback) for identity, _, feedback in wanted))
        requests = [
            Request(f"fix:{identity}:{digest_text(feedback)[:16]}", fixer_messages(reviews[identity], feedback))
            for identity, feedback in distinct
        ]
        drawn = fixer.generate(requests, self._sampling(self.rollout.fixes, self.generation.fix_tokens))
        completions = dict(zip(distinct, drawn, strict=True))
        answers = [
            (identity, pair, feedback, index, completion)
            for identity, pair, feedback in wanted
            for index, completion in enumerate(completions[identity, feedback])
        ]
        sqls = [
            (reviews[identity].question.question_id, parse_fix(completion.text).sql)
            for identity, _, _, _, completion in answers
        ]
        return [
            _fix_row(question_id, answer, sql, *found)
            for answer, (question_id, sql), found in zip(answers, sqls, self._judged(source, sqls), strict=True)
        ]

    def _sampling(self, n: int, max_new_tokens: int) -> Sampling:
        return Sampling(n, self.rollout.temperature, max_new_tokens, greedy_first=True, seed=self.seed)

    def _judged(self, source: Source, sqls: Sequence[tuple[int, str | None]]) -> list[tuple[Execution, Judgement]]:
        """Return execution and judgement of each (question id, SQL); equal ones run once."""
        distinct = list(dict.fromkeys(sqls))
        items = [JudgeItem(_database(source, question), source.golds[question], sql) for question, sql in distinct]
        found = dict(zip(distinct, self.judge.execute_and_judge(items), strict=True))
        return [found[key] for key in sqls]


def reviews_of(source: Source, plans: Iterable[PlanRow]) -> dict[str, Review]:
    """Return the distinct reviewed SQL of a set of plans, in the order of their first plan."""
    found: dict[str, Review] = {}
    for plan in plans:
        if plan.sql is not None:
            found.setdefault(plan.review_id, source.tasks[plan.question_id].review(plan.sql, plan.response))
    return found


def _feedbacks(options: Mapping[Validator, Sequence[Critique]]) -> list[tuple[tuple[int, int], str]]:
    """Return ((select index, condition index), feedback): each validator varied while the other stays greedy."""
    select, condition = options[Validator.SELECT], options[Validator.CONDITION]
    pairs = [(index, 0) for index in range(len(select))] + [(0, index) for index in range(1, len(condition))]
    return [((first, second), feedback_text((select[first], condition[second]))) for first, second in pairs]


def _by_review(critiques: Iterable[CritiqueRow]) -> dict[str, dict[Validator, list[Critique]]]:
    found: dict[str, dict[Validator, list[Critique]]] = {}
    for row in sorted(critiques, key=lambda row: row.sample_index):
        options = found.setdefault(row.review_id, {Validator.SELECT: [], Validator.CONDITION: []})
        options[row.validator].append(row.critique)
    return found


def _plan_row(
    task: Task, index: int, completion: Completion, sql: str | None, execution: Execution, judgement: Judgement
) -> PlanRow:
    question = task.question
    return PlanRow(
        plan_id=f"{question.question_id}-{index}",
        question_id=question.question_id,
        db_id=question.db_id,
        sample_index=index,
        text=completion.text,
        sql=sql,
        review_id=review_id(question.question_id, sql) if sql is not None else "",
        outcome=execution.outcome,
        response=response_text(execution),
        verdict=judgement.official,
        token_count=completion.token_count,
    )


def _fix_row(
    question_id: int,
    answer: tuple[str, tuple[int, int], str, int, Completion],
    sql: str | None,
    execution: Execution,
    judgement: Judgement,
) -> FixRow:
    identity, (select_index, condition_index), feedback, index, completion = answer
    return FixRow(
        fix_id=f"{identity}-fix-{select_index}-{condition_index}-{index}",
        review_id=identity,
        question_id=question_id,
        select_index=select_index,
        condition_index=condition_index,
        sample_index=index,
        feedback=feedback,
        text=completion.text,
        sql=sql,
        outcome=execution.outcome,
        response=response_text(execution),
        verdict=judgement.official,
        token_count=completion.token_count,
    )


def _database(source: Source, question_id: int) -> Path:
    return source.tasks[question_id].database
