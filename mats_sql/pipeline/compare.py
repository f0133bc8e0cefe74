"""`compare`: paired differences of teams at selector EX, with honest statistics. Each look is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from mats_sql.choices import Regime
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.comparisons import (
    ComparedTeam,
    Comparisons,
    compare_question_sets,
    write_comparisons,
)
from mats_sql.evaluation.comparison.power import power_notice
from mats_sql.evaluation.question_sets import ALL, question_sets
from mats_sql.evaluation.report.comparison_page import comparison_page
from mats_sql.evaluation.report.plots import gap_forest
from mats_sql.pipeline.evaluate import evaluate, read_candidates
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.teams import teams_named
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.looks import count_look
from mats_sql.tracking.stage import StageKey, StageResult, load_result
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("compare", 2)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name and the judged candidates of each of its training seeds."""

    name: str
    evaluations: Sequence[Artifact]


def compare(workspace: Workspace, baseline: Side, treatments: Sequence[Side]) -> StageResult:
    """Return every gap on both question sets (`comparisons`), and the page of them (`report`)."""
    questions = prepare(workspace).outputs["questions"]
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


def compare_named(workspace: Workspace, baseline: str, treatment: str) -> None:
    """Compare two sides given as team names or as evaluate run ids (parted by commas), and print the page."""
    result = compare(workspace, _side(workspace, baseline), [_side(workspace, treatment)])
    Console(highlight=False).print(result.outputs["report"].path.read_text(encoding="utf-8"), markup=False)


def _side(workspace: Workspace, reference: str) -> Side:
    if reference in ("planner", "sft", *Regime):
        evaluations = [evaluate(workspace, team) for team in teams_named(workspace, reference)]
        return Side(reference, [result.outputs["candidates"] for result in evaluations])
    results = [load_result(workspace.store, run_id.strip()) for run_id in reference.split(",")]
    if not all("candidates" in result.outputs for result in results):
        raise StageInputError(f"a side must be runs of evaluate, but got {reference!r}; see the runs named evaluate")
    tags = workspace.store.run(results[0].run_id).data.tags
    return Side(tags.get("team", reference), [result.outputs["candidates"] for result in results])


def _compute(
    workspace: Workspace,
    run: StageRun,
    baseline: Side,
    treatments: Sequence[Side],
    validation: frozenset[int],
) -> None:
    notice = power_notice(len(read_ids(baseline)), seeds=len(baseline.evaluations))
    workspace.progress.note(notice)
    compared = comparisons(baseline, treatments, validation)
    path = run.work / "comparisons.json"
    write_comparisons(path, compared)
    run.output("comparisons", ArtifactKind.REPORT, path)
    looks = count_look(workspace.store, run.run_id)
    page = comparison_page(compared, notice=notice, looks=looks)
    report = run.work / "comparison.md"
    report.write_text(page, encoding="utf-8")
    run.output("report", ArtifactKind.REPORT, report)
    run.log_text("comparison.md", page)
    run.log_metrics({"looks": looks})
    run.log_metrics(compared.as_mlflow())
    for comparison in compared.on(ALL):
        run.log_figure(f"gap_by_database_{comparison.treatment}", gap_forest(comparison))


def comparisons(baseline: Side, treatments: Sequence[Side], validation: frozenset[int]) -> Comparisons:
    """Return the comparisons on every question set: all usable dev questions, and those outside validation."""
    sets = question_sets(read_ids(baseline), validation)
    return compare_question_sets(sets, _team(baseline), [_team(side) for side in treatments])


def _team(side: Side) -> ComparedTeam:
    return ComparedTeam(side.name, [read_candidates(item) for item in side.evaluations])


def read_ids(side: Side) -> frozenset[int]:
    """Return the questions that a side answered."""
    return frozenset(row.question_id for row in read_candidates(side.evaluations[0]))
