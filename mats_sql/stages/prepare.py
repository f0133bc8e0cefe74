"""`prepare`: read the benchmark, exclude what cannot be judged, part validation from the rest, refuse leaks."""

from __future__ import annotations

import json
import platform
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from mats_sql.benchmark.benchmark import Benchmark, require_questions_for_databases
from mats_sql.benchmark.leaks import check_no_leak
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.splits import split_questions
from mats_sql.benchmark.usable import Exclusion, usable_questions
from mats_sql.digests import digest_file
from mats_sql.errors import BenchmarkError
from mats_sql.seeds import derive_seed
from mats_sql.sql.execution import Execution
from mats_sql.sql.judge import JudgeItem
from mats_sql.stages.data import DEV, TRAIN, QuestionRow, has_train_split, read_split, split_digest
from mats_sql.stages.tables import write_table
from mats_sql.stages.workspace import Workspace
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("prepare", 1)
OUTSIDE = "outside the part asked for"


def prepare(workspace: Workspace) -> StageResult:
    """Return the questions table (`questions`) and the gold receipt (`gold_receipt`)."""
    experiment = workspace.experiment
    splits = [DEV, TRAIN] if has_train_split(experiment) else [DEV]
    benchmarks = {split: read_split(experiment, split) for split in splits}
    for benchmark in benchmarks.values():
        require_questions_for_databases(benchmark)
    manifest = {split: split_digest(experiment, split) for split in splits}
    return workspace.run(
        KEY,
        title=f"prepare {experiment.benchmark.kind} benchmark",
        settings={
            "benchmark": experiment.benchmark.model_dump(mode="json", exclude={"root"}),
            "seed": experiment.seed,
            "limits": experiment.sql.limits,
            "files": manifest,
        },
        inputs={},
        compute=lambda run: _compute(workspace, run, benchmarks),
    )


def _compute(workspace: Workspace, run: StageRun, benchmarks: dict[str, Benchmark]) -> None:
    settings, seed = workspace.experiment.benchmark, workspace.experiment.seed
    rows: list[QuestionRow] = []
    receipt: dict[str, object] = {"sqlite": sqlite3.sqlite_version, "host": platform.platform()}
    kept: dict[str, list[Question]] = {}
    for split, benchmark in benchmarks.items():
        golds = _gold_executions(workspace, benchmark)
        usable = usable_questions(benchmark, golds)
        limit = settings.dev_questions if split == DEV else settings.train_questions
        questions = _limited(usable.questions, limit, derive_seed(seed, "prepare", split))
        validation = _validation(questions, settings.validation_questions, seed) if split == DEV else frozenset()
        kept[split] = questions
        rows += _rows(split, benchmark, questions, usable.excluded, validation)
        receipt[split] = _receipt(benchmark, golds, usable.excluded)
        run.log_metrics({f"{split}_questions": len(benchmark.questions), f"{split}_usable": len(questions)})
        workspace.progress.note(_summary(split, benchmark, questions, usable.excluded))
    if not kept[DEV]:
        raise BenchmarkError("evaluation needs a usable dev question, but there is none; see the reasons above")
    check_no_leak(kept.get(TRAIN, []), kept[DEV])
    _write(run, rows, receipt)


def _gold_executions(workspace: Workspace, benchmark: Benchmark) -> dict[int, Execution]:
    golds = [gold for gold in benchmark.golds.values() if gold.db_id in benchmark.databases]
    items = [JudgeItem(benchmark.databases[gold.db_id], gold.sql, gold.sql) for gold in golds]
    executions = workspace.judge().execute_gold(items)
    return {gold.question_id: execution for gold, execution in zip(golds, executions, strict=True)}


def _limited(questions: Sequence[Question], limit: int | None, seed: int) -> list[Question]:
    """Return a stratified part of the questions, or all of them."""
    if limit is None or limit >= len(questions):
        return list(questions)
    wanted = set(split_questions(questions, validation=limit, seed=seed).validation)
    return [question for question in questions if question.question_id in wanted]


def _validation(questions: Sequence[Question], size: int, seed: int) -> frozenset[int]:
    if size >= len(questions):
        raise BenchmarkError(
            f"the validation split must leave questions to test on, but benchmark.validation_questions={size} "
            f"of {len(questions)} usable; lower it"
        )
    return frozenset(split_questions(questions, validation=size, seed=derive_seed(seed, "validation")).validation)


def _rows(
    split: str,
    benchmark: Benchmark,
    kept: Sequence[Question],
    excluded: Iterable[Exclusion],
    validation: frozenset[int],
) -> list[QuestionRow]:
    reasons = {exclusion.question_id: exclusion.reason for exclusion in excluded}
    usable = {question.question_id for question in kept}
    return [
        QuestionRow(
            split=split,
            question_id=question.question_id,
            db_id=question.db_id,
            difficulty=question.difficulty,
            text=question.text,
            evidence=question.evidence,
            usable=question.question_id in usable,
            reason=""
            if question.question_id in usable
            else reasons.get(question.question_id, "outside the part asked for"),
            in_validation=question.question_id in validation,
        )
        for question in benchmark.questions
    ]


def _receipt(benchmark: Benchmark, golds: dict[int, Execution], excluded: Sequence[Exclusion]) -> dict[str, object]:
    return {
        "databases": {name: digest_file(path) for name, path in sorted(benchmark.databases.items())},
        "outcomes": Counter(execution.outcome.value for execution in golds.values()),
        "excluded": [asdict(exclusion) for exclusion in excluded],
    }


def _summary(split: str, benchmark: Benchmark, kept: Sequence[Question], excluded: Sequence[Exclusion]) -> str:
    reasons = Counter(exclusion.reason.split(":")[0] for exclusion in excluded)
    told = "".join(f"; {count} excluded: {reason}" for reason, count in reasons.most_common())
    return f"  {split}: {len(kept)} of {len(benchmark.questions)} questions{told}"


def _write(run: StageRun, rows: Sequence[QuestionRow], receipt: dict[str, object]) -> None:
    questions, receipt_file = run.work / "questions.parquet", run.work / "gold_receipt.json"
    write_table(rows, questions)
    _write_json(receipt_file, receipt)
    run.output("questions", ArtifactKind.DATASET, questions)
    run.output("gold_receipt", ArtifactKind.REPORT, receipt_file)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
