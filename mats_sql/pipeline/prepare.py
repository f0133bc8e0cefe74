"""`prepare`: find out which questions are usable, part validation from the rest, refuse leaks.

Reads the benchmark's own files and runs every gold. Writes the ``questions`` table, which every later stage reads, and
the ``gold_receipt``. The table holds no gold, but its digest stands for golds, databases and the evaluator's
version too: when one of them changes, all that was computed from it is computed again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mats_sql.benchmark import (
    Benchmark,
    Exclusion,
    Question,
    check_no_leak,
    drop_shared_texts,
    make_receipt,
    require_questions_for_databases,
    split_questions,
    usable_questions,
)
from mats_sql.config import Experiment
from mats_sql.errors import BenchmarkError
from mats_sql.lab import check_reserved
from mats_sql.parquet import write_records
from mats_sql.pipeline.protocol import fix_protocol
from mats_sql.pipeline.questions import (
    DEV,
    TRAIN,
    QuestionRow,
    has_train_split,
    read_split,
    schema_texts,
    split_digest,
)
from mats_sql.pipeline.workspace import Workspace
from mats_sql.seeds import derive_seed
from mats_sql.sql import EVALUATOR_VERSION, Execution, JudgeItem
from mats_sql.tracking import ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("prepare", 3)
OUTSIDE = "outside the part asked for"
SHARED = "its text is also a dev question's"


def prepare(workspace: Workspace) -> StageResult:
    """Return the questions table (`questions`) and the gold receipt (`gold_receipt`)."""
    experiment = workspace.experiment
    splits = [DEV, TRAIN] if has_train_split(experiment) else [DEV]
    benchmarks = {split: read_split(experiment, split) for split in splits}
    for benchmark in benchmarks.values():
        require_questions_for_databases(benchmark)
    manifest = {split: split_digest(experiment, split) for split in splits}
    prepared = workspace.run(
        KEY,
        title=f"prepare {experiment.benchmark.kind} benchmark",
        settings={
            "benchmark": experiment.benchmark.question_settings(),
            "seed": experiment.seed,
            "limits": experiment.sql.limits,
            "files": manifest,
            "evaluator": EVALUATOR_VERSION,
        },
        inputs={},
        compute=lambda run: _compute(workspace, run, benchmarks, manifest),
    )
    if workspace.writes:
        fix_protocol(workspace, prepared.outputs["questions"])
    return prepared


def _compute(
    workspace: Workspace, run: StageRun, benchmarks: Mapping[str, Benchmark], manifest: Mapping[str, str]
) -> None:
    experiment = workspace.experiment
    rows: list[QuestionRow] = []
    receipts: dict[str, object] = {}
    kept: dict[str, list[Question]] = {}
    for split, benchmark in benchmarks.items():
        usable = usable_questions(benchmark, _gold_executions(workspace, benchmark))
        excluded = list(usable.excluded)
        kept[split] = _part(experiment, split, usable.questions)
        if split == TRAIN and experiment.benchmark.kind == "spider":
            # Spider's published files share a few texts between train and dev
            own, shared = drop_shared_texts(kept[TRAIN], kept[DEV])
            kept[TRAIN] = list(own)
            excluded += [Exclusion(item.question_id, item.db_id, SHARED) for item in shared]
        validation = _validation(kept[DEV], experiment) if split == DEV else frozenset()
        rows += _rows(split, benchmark, kept[split], excluded, validation)
        receipts[split] = make_receipt(benchmark, workspace.judge(), experiment.sql.limits).as_json()
        run.log_metrics({f"{split}_questions": len(benchmark.questions), f"{split}_usable": len(kept[split])})
        workspace.progress.note(_summary(split, benchmark, kept[split], excluded))
    if experiment.benchmark.schema_characters is not None:
        _tell_left_out(workspace, run, benchmarks, kept)
    check_no_leak(kept.get(TRAIN, []), kept[DEV])
    if experiment.benchmark.kind == "lab":
        check_reserved([question for questions in kept.values() for question in questions])
    _write(run, rows, receipts, manifest)


@dataclass(frozen=True, slots=True)
class _Shortened:
    """A question whose prompt lacks columns, or exceeds the budget by its keys alone."""

    split: str
    question_id: int
    db_id: str
    characters: int
    columns_left_out: int


def _tell_left_out(
    workspace: Workspace, run: StageRun, benchmarks: Mapping[str, Benchmark], kept: dict[str, list[Question]]
) -> None:
    """Count, and name in a table, the usable questions whose schema did not fit ``benchmark.schema_characters``."""
    settings = workspace.experiment.benchmark
    limit = settings.schema_characters
    assert limit is not None
    shortened = []
    for split, benchmark in benchmarks.items():
        texts = schema_texts(workspace.experiment, benchmark)
        for question in kept[split]:
            fitted = texts.fitted(question)
            row = _Shortened(split, question.question_id, question.db_id, len(fitted.text), fitted.columns_left_out)
            if row.columns_left_out or row.characters > limit:
                shortened.append(row)
    over = sum(row.characters > limit for row in shortened)
    columns = sum(row.columns_left_out for row in shortened)
    run.log_metrics(
        {"schemas_shortened": len(shortened), "schema_columns_left_out": columns, "schemas_over_budget": over}
    )
    if not shortened:
        return
    import pandas as pd

    run.log_table("schemas_shortened", pd.DataFrame(shortened))
    workspace.progress.note(
        f"  {len(shortened)} schemas did not fit benchmark.schema_characters={limit}: {columns} columns left out"
        + (f", {over} still too long, by their keys alone" if over else "")
        + "; the run's table schemas_shortened names the questions"
    )


def _gold_executions(workspace: Workspace, benchmark: Benchmark) -> dict[int, Execution]:
    golds = [gold for gold in benchmark.golds.values() if gold.db_id in benchmark.databases]
    items = [JudgeItem(benchmark.databases[gold.db_id], gold.sql, gold.sql) for gold in golds]
    executions = workspace.judge().execute_gold(items)
    return {gold.question_id: execution for gold, execution in zip(golds, executions, strict=True)}


def _part(experiment: Experiment, split: str, questions: Sequence[Question]) -> list[Question]:
    """Return the stratified part of the questions that the experiment asks for, or all of them."""
    limit = experiment.benchmark.dev_questions if split == DEV else experiment.benchmark.train_questions
    if limit is None or limit >= len(questions):
        return list(questions)
    seed = derive_seed(experiment.seed, "prepare", split)
    wanted = set(split_questions(questions, validation=limit, seed=seed).validation)
    return [question for question in questions if question.question_id in wanted]


def _validation(questions: Sequence[Question], experiment: Experiment) -> frozenset[int]:
    size = experiment.benchmark.validation_questions
    if not questions:
        raise BenchmarkError("evaluation needs a usable dev question, but there is none; see docs/benchmarks.md")
    if size >= len(questions):
        raise BenchmarkError(
            f"the validation split must leave questions to test on, but benchmark.validation_questions={size} "
            f"of {len(questions)} usable; lower it"
        )
    seed = derive_seed(experiment.seed, "validation")
    return frozenset(split_questions(questions, validation=size, seed=seed).validation)


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
            reason="" if question.question_id in usable else reasons.get(question.question_id, OUTSIDE),
            in_validation=question.question_id in validation,
        )
        for question in benchmark.questions
    ]


def _summary(split: str, benchmark: Benchmark, kept: Sequence[Question], excluded: Sequence[Exclusion]) -> str:
    reasons = Counter(exclusion.reason.split(":")[0] for exclusion in excluded)
    told = "".join(f"; {count} excluded: {reason}" for reason, count in reasons.most_common())
    return f"  {split}: {len(kept)} of {len(benchmark.questions)} questions{told}"


def _write(
    run: StageRun, rows: Sequence[QuestionRow], receipts: dict[str, object], manifest: Mapping[str, str]
) -> None:
    questions, receipt_file = run.work / "questions.parquet", run.work / "gold_receipt.json"
    write_records(rows, QuestionRow, questions, made_of={**manifest, "evaluator": str(EVALUATOR_VERSION)})
    _write_json(receipt_file, receipts)
    run.output("questions", ArtifactKind.DATASET, questions)
    run.output("gold_receipt", ArtifactKind.REPORT, receipt_file)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")
