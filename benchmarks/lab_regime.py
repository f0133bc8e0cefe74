"""Measure the regime of the lab: how good the planner is, how much sampling adds, what validators and fixer can do.

    .venv/bin/python benchmarks/lab_regime.py [--base FOLDER] [--seed 1] [--questions 300] [--sft-examples 2400]

The planner is fine-tuned as the experiment does it; validators, fixer and selector answer as the base model does.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from mats_sql.agents.condition_validator import condition_validator_messages
from mats_sql.agents.critique import Critique, Validator, Verdict, parse_critique
from mats_sql.agents.fixer import feedback_text, fixer_messages, parse_fix
from mats_sql.agents.messages import Messages
from mats_sql.agents.planner import parse_plan, planner_messages
from mats_sql.agents.review import Review, response_text
from mats_sql.agents.select_validator import select_validator_messages
from mats_sql.agents.selector import NO, YES, selector_messages
from mats_sql.benchmark.benchmark import Benchmark
from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.prompts import SchemaTexts
from mats_sql.benchmark.question import Question
from mats_sql.config import BenchmarkSettings, GenerationSettings, LabSettings, SftSettings, SqlLimits
from mats_sql.generation.engine import Engine, Request, Sampling
from mats_sql.generation.open import open_engine
from mats_sql.lab.base import base_model_path
from mats_sql.lab.generator import write_lab
from mats_sql.sql.execution import Execution
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from mats_sql.teaching.example import SftExample
from mats_sql.teaching.teacher import write_plan
from mats_sql.training.sft import train_sft

K = 8


def main() -> None:
    """Print the figures, a line each."""
    arguments = _arguments()
    base = arguments.base or base_model_path()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_lab(folder / "lab", LabSettings(seed=arguments.seed))
        planner = base
        if arguments.sft_examples:
            planner = folder / "planner"
            _fine_tune(read_bird(folder / "lab", "train"), base, planner, arguments.sft_examples)
        _measure(read_bird(folder / "lab", "dev"), base, planner, arguments.questions)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--sft-examples", type=int, default=2400)
    return parser.parse_args()


def _fine_tune(train: Benchmark, base: Path, out: Path, count: int) -> None:
    texts, started = SchemaTexts(train, BenchmarkSettings()), time.monotonic()
    examples = [
        SftExample(
            str(question.question_id),
            planner_messages(question, texts.text_for(question)),
            write_plan(train.golds[question.question_id].sql, train.schemas[question.db_id]),
        )
        for question in train.questions[:count]
    ]
    train_sft(examples, base=base, out=out, settings=SftSettings(), seed=0, on_metrics=lambda _step, _metrics: None)
    print(f"planner SFT: {len(examples)} examples, {time.monotonic() - started:.0f} s")


def _measure(dev: Benchmark, base: Path, planner: Path, count: int) -> None:
    questions = random.Random(0).sample(dev.questions, min(count, len(dev.questions)))
    texts = SchemaTexts(dev, BenchmarkSettings())
    shown = [texts.text_for(question) for question in questions]
    requests = [
        Request(str(q.question_id), planner_messages(q, text)) for q, text in zip(questions, shown, strict=True)
    ]
    started = time.monotonic()
    engine = open_engine(GenerationSettings(), planner)
    drawn = engine.generate(requests, Sampling(n=K, max_new_tokens=GenerationSettings().plan_tokens))
    engine.close()
    print(f"{K} plans for {len(questions)} questions: {time.monotonic() - started:.0f} s")
    plans = [[parse_plan(completion.text).sql or "" for completion in samples] for samples in drawn]
    with SqlExecutor(SqlLimits(), 2) as executor, Judge(executor, None) as judge:
        found = [_run(judge, dev, question, sqls) for question, sqls in zip(questions, plans, strict=True)]
        right = [[correct for _, correct in row] for row in found]
        _say("planner@1", [row[0] for row in right])
        for level in ("simple", "moderate", "challenging"):
            _say(f"  {level}", [row[0] for row, q in zip(right, questions, strict=True) if q.difficulty == level])
        _say("one sample at temperature 1", [correct for row in right for correct in row[1:]])
        _say(f"oracle pass@{K}", [any(row) for row in right])
        _say("greedy SQL executes", [row[0][0].ran for row in found])
        reviews = [
            Review(question, text, sqls[0], response_text(row[0][0]))
            for question, text, sqls, row in zip(questions, shown, plans, found, strict=True)
        ]
        _measure_others(base, dev, judge, reviews, [row[0] for row in right])


def _run(judge: Judge, dev: Benchmark, question: Question, sqls: list[str]) -> list[tuple[Execution, bool]]:
    gold = dev.golds[question.question_id].sql
    items = [JudgeItem(dev.databases[question.db_id], gold, sql) for sql in sqls]
    return [(execution, judgement.correct) for execution, judgement in judge.execute_and_judge(items)]


def _measure_others(base: Path, dev: Benchmark, judge: Judge, reviews: list[Review], right: list[bool]) -> None:
    engine = open_engine(GenerationSettings(), base)
    select = [
        parse_critique(Validator.SELECT, text) for text in _answers(engine, map(select_validator_messages, reviews))
    ]
    condition = [
        parse_critique(Validator.CONDITION, text)
        for text in _answers(engine, map(condition_validator_messages, reviews))
    ]
    approved = [_approves(one) and _approves(two) for one, two in zip(select, condition, strict=True)]
    _say("both validators' joint verdict is right", [a == b for a, b in zip(approved, right, strict=True)])
    _say("  approves a right SQL", [a for a, b in zip(approved, right, strict=True) if b])
    _say("  approves a wrong SQL", [a for a, b in zip(approved, right, strict=True) if not b])
    prompts = [
        fixer_messages(review, feedback_text(pair)) for review, *pair in zip(reviews, select, condition, strict=True)
    ]
    fixes = [parse_fix(text).sql or "" for text in _answers(engine, prompts)]
    fixed = [_run(judge, dev, review.question, [sql])[0][1] for review, sql in zip(reviews, fixes, strict=True)]
    gated = [was if ok else now for was, now, ok in zip(right, fixed, approved, strict=True)]
    _say("pipeline@1 with untuned validators and fixer", gated)
    asked = [
        Request(str(review.question.question_id), selector_messages(review, pair))
        for review, *pair in zip(reviews, select, condition, strict=True)
    ]
    scores = [scored[0] > scored[1] for scored in engine.choice_logprobs(asked, (YES, NO))]
    _say("selector's yes or no is right", [a == b for a, b in zip(scores, right, strict=True)])
    engine.close()


def _answers(engine: Engine, prompts: Iterable[Messages]) -> list[str]:
    requests = [Request(str(number), messages) for number, messages in enumerate(prompts)]
    drawn = engine.generate(
        requests, Sampling(n=1, temperature=0.0, max_new_tokens=GenerationSettings().critique_tokens)
    )
    return [completions[0].text for completions in drawn]


def _approves(critique: Critique) -> bool:
    return critique.verdict is Verdict.CORRECT


def _say(name: str, truths: list[bool]) -> None:
    print(f"{name}: {sum(truths)} of {len(truths)} ({100 * sum(truths) / max(1, len(truths)):.1f}%)")


if __name__ == "__main__":
    main()
