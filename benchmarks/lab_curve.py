"""The learning curve of the lab's base model: what snapshots of a pretraining can do, before any fine-tuning.

    .venv/bin/python benchmarks/lab_curve.py FOLDER... [--seed 101] [--questions 300]

A folder is a checkpoint, or one that holds `snapshots/` (`mats-sql pretrain` prints it). Every agent is the snapshot
itself, on dev questions of a lab seed that no experiment uses. In percent: greedy plans that are right; complaints
about wrong plans whose content is right; wrong plans repaired under the teacher's true critiques, under the model's
own and under none; right plans kept when the fixer is asked without a complaint.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mats_sql.agents import (
    NO_COMPLAINT,
    VALIDATOR_MESSAGES,
    Critique,
    Messages,
    Review,
    Validator,
    Verdict,
    feedback_text,
    fixer_messages,
    parse_critique,
    parse_fix,
    parse_plan,
    planner_messages,
    response_text,
)
from mats_sql.benchmark import Benchmark, SchemaTexts, read_bird
from mats_sql.config import BenchmarkSettings, GenerationSettings, LabSettings, SqlLimits
from mats_sql.generation import Engine, Request, Sampling, open_engine
from mats_sql.lab.generator import write_lab
from mats_sql.sql import Judge, JudgeItem, SqlExecutor
from mats_sql.teaching import right_content, write_critique

COLUMNS = ("snapshot", "plans right", "content right", "true repairs", "own repairs", "none repairs", "right kept")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A greedy plan with its review, its verdict, and the teacher's critiques of it."""

    review: Review
    correct: bool
    true: tuple[Critique, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """A snapshot at work on a lab's dev questions."""

    engine: Engine
    dev: Benchmark
    judge: Judge

    def answers(self, prompts: Sequence[Messages]) -> list[str]:
        """Return the greedy answer to each prompt."""
        requests = [Request(str(number), messages) for number, messages in enumerate(prompts)]
        sampling = Sampling(n=1, temperature=0.0, max_new_tokens=GenerationSettings().plan_tokens)
        return [completions[0].text for completions in self.engine.generate(requests, sampling)]

    def reviewed(self, texts: SchemaTexts, count: int) -> list[Reviewed]:
        """Return the reviewed plans of some questions."""
        questions = random.Random(0).sample(self.dev.questions, min(count, len(self.dev.questions)))
        shown = [texts.text_for(question) for question in questions]
        prompts = [planner_messages(question, text) for question, text in zip(questions, shown, strict=True)]
        sqls = [parse_plan(text).sql or "" for text in self.answers(prompts)]
        items = [
            JudgeItem(self.dev.databases[question.db_id], self.dev.golds[question.question_id].sql, sql)
            for question, sql in zip(questions, sqls, strict=True)
        ]
        judged = self.judge.execute_and_judge(items)
        return [
            self._reviewed(Review(question, text, sql, response_text(execution)), judgement.correct)
            for question, text, sql, (execution, judgement) in zip(questions, shown, sqls, judged, strict=True)
        ]

    def _reviewed(self, review: Review, correct: bool) -> Reviewed:
        question = review.question
        gold = review.sql if correct else self.dev.golds[question.question_id].sql
        schema = self.dev.schemas[question.db_id]
        return Reviewed(review, correct, tuple(write_critique(name, review.sql, gold, schema) for name in Validator))

    def critiques(self, plans: Sequence[Reviewed]) -> list[tuple[Critique, ...]]:
        """Return both validators' critiques of each plan."""
        written = [
            [
                parse_critique(name, text)
                for text in self.answers([VALIDATOR_MESSAGES[name](plan.review) for plan in plans])
            ]
            for name in Validator
        ]
        return list(zip(*written, strict=True))

    def fixed(self, plans: Sequence[Reviewed], feedbacks: Sequence[str]) -> list[bool]:
        """Return whether the fix of each plan under its feedback is right."""
        prompts = [fixer_messages(plan.review, feedback) for plan, feedback in zip(plans, feedbacks, strict=True)]
        items = [
            JudgeItem(
                self.dev.databases[plan.review.question.db_id],
                self.dev.golds[plan.review.question.question_id].sql,
                parse_fix(text).sql or "",
            )
            for plan, text in zip(plans, self.answers(prompts), strict=True)
        ]
        return [judgement.correct for judgement in self.judge.judge_many(items)]


def main() -> None:
    """Print a row per snapshot."""
    arguments = _arguments()
    print(" | ".join(COLUMNS))
    with tempfile.TemporaryDirectory() as name:
        write_lab(Path(name), LabSettings(seed=arguments.seed, train_databases=1, train_questions=1))
        dev = read_bird(Path(name), "dev")
        for folder in _snapshots(arguments.folders):
            print(" | ".join((folder.name, *_row(folder, dev, arguments.questions))), flush=True)


def _row(folder: Path, dev: Benchmark, count: int) -> tuple[str, ...]:
    engine = open_engine(GenerationSettings(), folder)
    try:
        with SqlExecutor(SqlLimits(), 2) as executor, Judge(executor, None) as judge:
            subject = Subject(engine, dev, judge)
            plans = subject.reviewed(SchemaTexts(dev, BenchmarkSettings()), count)
            wrong = [plan for plan in plans if not plan.correct]
            right = [plan for plan in plans if plan.correct]
            own = subject.critiques(wrong)
            return (
                _share([plan.correct for plan in plans]),
                _share(list(_contents(wrong, own))),
                _share(subject.fixed(wrong, [feedback_text(plan.true) for plan in wrong])),
                _share(subject.fixed(wrong, [feedback_text(critiques) for critiques in own])),
                _share(subject.fixed(wrong, [NO_COMPLAINT] * len(wrong))),
                _share(subject.fixed(right, [NO_COMPLAINT] * len(right))),
            )
    finally:
        engine.close()


def _contents(plans: Sequence[Reviewed], own: Sequence[tuple[Critique, ...]]) -> Iterator[bool]:
    for plan, critiques in zip(plans, own, strict=True):
        for critique, truth in zip(critiques, plan.true, strict=True):
            if critique.verdict is Verdict.INCORRECT:
                yield right_content(critique, truth)


def _share(truths: list[bool]) -> str:
    return f"{100 * sum(truths) / max(1, len(truths)):.1f} of {len(truths)}"


def _snapshots(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(path for path in (folder / "snapshots").glob("*")) or [folder]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--questions", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
