"""`compare`: paired differences of teams at selector EX, with honest statistics.

Reads the questions table and the judged candidates of every side. Computes each gap once, on all usable dev questions
and outside the validation split. Writes the typed ``comparisons``, which everybody who shows a gap reads, and the
``report``; each look at the final set is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mats_sql.evaluation.comparison.power import power_notice
from mats_sql.evaluation.comparison.record import Comparisons, write_comparisons
from mats_sql.evaluation.comparison.statistics import compare_all
from mats_sql.evaluation.question_results import restrict
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.evaluation.report.plots import gap_forest
from mats_sql.evaluation.report.result_tables import comparison_table
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.workspace import Workspace
from mats_sql.sql.verdict import VerdictClass
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("compare", 2)
ALL, REST = "all usable dev questions", "outside the validation split"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name and the judged candidates of each of its training seeds."""

    name: str
    evaluations: Sequence[Artifact]


def compare(workspace: Workspace, questions: Artifact, baseline: Side, treatments: Sequence[Side]) -> StageResult:
    """Return the gaps (`comparisons`) and their page (`report`); the metrics hold the gaps on both question sets."""
    names = [side.name for side in treatments]
    return workspace.run(
        KEY,
        title=f"compare {', '.join(names)} with {baseline.name}",
        settings={"baseline": baseline.name, "treatments": names},
        inputs={
            "questions": questions,
            **{
                f"{side.name} {index}": evaluation
                for side in (baseline, *treatments)
                for index, evaluation in enumerate(side.evaluations)
            },
        },
        compute=lambda run: _compute(workspace, run, baseline, treatments, validation_ids(questions)),
        tags={"baseline": baseline.name, "treatment": ", ".join(names)},
    )


def _comparisons(baseline: Side, treatments: Sequence[Side], validation: frozenset[int]) -> Comparisons:
    """Return the comparisons on every question set: all usable dev questions, and those outside validation."""
    runs = {side.name: [read_candidates(item) for item in side.evaluations] for side in (baseline, *treatments)}
    everything = frozenset(row.question_id for row in runs[baseline.name][0])
    sets = {ALL: everything, REST: everything - validation}
    return Comparisons(
        {
            name: tuple(
                compare_all(
                    _selected_correct(runs[baseline.name], ids),
                    {side.name: _selected_correct(runs[side.name], ids) for side in treatments},
                    baseline_name=baseline.name,
                )
            )
            for name, ids in sets.items()
            if ids and (name == ALL or ids != everything)
        }
    )


def _compute(
    workspace: Workspace,
    run: StageRun,
    baseline: Side,
    treatments: Sequence[Side],
    validation: frozenset[int],
) -> None:
    notice = power_notice(len(read_ids(baseline)), seeds=len(baseline.evaluations))
    workspace.progress.note(notice)
    compared = _comparisons(baseline, treatments, validation)
    look = workspace.look(run)
    path = run.work / "comparisons.json"
    write_comparisons(compared, path)
    run.output("comparisons", ArtifactKind.REPORT, path)
    page = _page(compared, notice, look)
    report = run.work / "comparison.md"
    report.write_text(page, encoding="utf-8")
    run.output("report", ArtifactKind.REPORT, report)
    run.log_text("comparison.md", page)
    for name, found in compared.by_question_set().items():
        prefix = "" if name == ALL else "rest/"
        for side, comparison in zip(treatments, found, strict=True):
            own = f"{prefix}{side.name}/" if len(treatments) > 1 else prefix
            run.log_metrics({f"{own}{key}": value for key, value in comparison.as_mlflow().items()})
    for side, comparison in zip(treatments, compared.by_question_set()[ALL], strict=True):
        run.log_figure(f"gap_by_database_{side.name}", gap_forest(comparison))


def read_ids(side: Side) -> frozenset[int]:
    """Return the questions that a side answered."""
    return frozenset(row.question_id for row in read_candidates(side.evaluations[0]))


def _page(compared: Comparisons, notice: str, look: int) -> str:
    parts = ["# Paired comparison at selector EX", notice]
    for name, found in compared.by_question_set().items():
        parts += [comparison_table(found, name).to_markdown(), *(comparison.verdict for comparison in found)]
    parts.append(f"Look number {look} at the final set in this experiment.")
    return "\n\n".join(parts) + "\n"


def _selected_correct(
    runs: Sequence[Sequence[JudgedCandidate]], ids: frozenset[int]
) -> list[dict[int, tuple[str, bool]]]:
    return [
        {
            row.question_id: (row.db_id, row.verdict is VerdictClass.CORRECT)
            for row in restrict(candidates, ids)
            if row.selected
        }
        for candidates in runs
    ]
