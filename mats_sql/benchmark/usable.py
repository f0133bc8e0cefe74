"""Which questions count: those whose database is there and whose gold executes. Every other one has a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mats_sql.benchmark.benchmark import Benchmark
from mats_sql.benchmark.question import Question
from mats_sql.sql import Execution, Outcome


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A question that does not count, and why."""

    question_id: int
    db_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Usable:
    """The questions that count and those that do not, both in the benchmark's order."""

    questions: tuple[Question, ...]
    excluded: tuple[Exclusion, ...]


def usable_questions(benchmark: Benchmark, gold_executions: Mapping[int, Execution]) -> Usable:
    """Return the questions whose gold executed, and the reason for every other one.

    ``gold_executions`` has the gold's execution by question id, for at least every question whose database is
    present; a missing one is the caller's mistake (:class:`ValueError`), never a reason to drop a question.
    """
    questions: list[Question] = []
    excluded: list[Exclusion] = []
    for question in benchmark.questions:
        reason = _reason(benchmark, question, gold_executions)
        if reason:
            excluded.append(Exclusion(question.question_id, question.db_id, reason))
        else:
            questions.append(question)
    return Usable(tuple(questions), tuple(excluded))


def _reason(benchmark: Benchmark, question: Question, gold_executions: Mapping[int, Execution]) -> str:
    if question.db_id not in benchmark.databases:
        return "database missing"
    execution = gold_executions.get(question.question_id)
    if execution is None:
        raise ValueError(f"question {question.question_id}: its database is present, but its gold was not executed")
    if execution.ran:
        return ""
    return _REASONS[execution.outcome].format(error=execution.error)


_REASONS = {
    Outcome.ERROR: "gold does not execute: {error}",
    Outcome.TIMEOUT: "gold timed out",
    Outcome.TOO_BIG: "gold result is too big",
    Outcome.REFUSED: "gold was refused: {error}",
}
