"""The gold receipt: what a benchmark's gold does on this machine, and everything that the verdicts rest on."""

from __future__ import annotations

import platform
import sqlite3
from dataclasses import asdict, dataclass

from mats_sql.benchmark.benchmark import Benchmark
from mats_sql.config import SqlLimits
from mats_sql.sql import EVALUATOR_VERSION, Execution, ItemJudge, JudgeItem, Judgement

SLOW_S = 1.0
"""Gold that takes longer than this is listed."""


@dataclass(frozen=True, slots=True)
class GoldNote:
    """A gold worth a look: it failed, was slow, or did not agree with itself."""

    question_id: int
    db_id: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class GoldReceipt:
    """Gold against itself on one benchmark, with the versions, limits and databases it was made with.

    ``databases`` has the digest of a database file's bytes, or the address and version of a database server.
    """

    benchmark: str
    questions: int
    judged: int
    correct: int
    without_database: int
    failed: tuple[GoldNote, ...]
    slow: tuple[GoldNote, ...]
    unstable: tuple[GoldNote, ...]
    databases: dict[str, str]
    limits: dict[str, float]
    evaluator_version: int
    sqlite_version: str
    python_version: str
    host: str

    def as_json(self) -> dict[str, object]:
        """Return the receipt as plain JSON values."""
        return asdict(self)


def make_receipt(benchmark: Benchmark, judge: ItemJudge, limits: SqlLimits) -> GoldReceipt:
    """Judge every gold whose database is present against itself.

    Raises :class:`mats_sql.errors.DatabaseError` for a damaged database.
    """
    golds = [gold for gold in benchmark.golds.values() if gold.db_id in benchmark.databases]
    items = [JudgeItem(benchmark.databases[gold.db_id], gold.sql, gold.sql) for gold in golds]
    verdicts = list(judge.judge_many(items))
    executions = list(judge.execute_gold(items))
    failed, slow, unstable = [], [], []
    for gold, execution, verdict in zip(golds, executions, verdicts, strict=True):
        note = GoldNote(gold.question_id, gold.db_id, execution.outcome, _detail(execution, verdict))
        if not execution.ran:
            failed.append(note)
        elif not verdict.correct:
            unstable.append(note)
        if execution.elapsed_s > SLOW_S:
            slow.append(note)
    return GoldReceipt(
        benchmark=benchmark.name,
        questions=len(benchmark.golds),
        judged=len(golds),
        correct=sum(verdict.correct for verdict in verdicts),
        without_database=len(benchmark.golds) - len(golds),
        failed=tuple(failed),
        slow=tuple(slow),
        unstable=tuple(unstable),
        databases={db_id: judge.identity(path) for db_id, path in benchmark.databases.items()},
        limits=limits.model_dump(),
        evaluator_version=EVALUATOR_VERSION,
        sqlite_version=sqlite3.sqlite_version,
        python_version=platform.python_version(),
        host=platform.platform(),
    )


def _detail(execution: Execution, verdict: Judgement) -> str:
    return execution.error or f"{verdict.official} against itself, {execution.elapsed_s:.1f} s"
