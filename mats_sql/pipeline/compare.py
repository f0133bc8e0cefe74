"""`compare`: paired differences of teams at selector EX, with honest statistics.

Reads the questions table and the judged candidates of every side. Computes each gap once, on all usable dev questions
and outside the validation split. Writes the typed ``comparisons``, which everybody who shows a gap reads, and the
``report``; each look at the final set is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mats_sql.evaluation import ALL, question_sets
from mats_sql.evaluation.comparison import ComparedTeam, compare_question_sets, power_notice, write_comparisons
from mats_sql.evaluation.report import comparison_page, gap_forest
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("compare", 2)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name and the evaluation of each of its training seeds."""

    name: str
    evaluations: Sequence[Artifact]

    def read(self) -> ComparedTeam:
        """Return the side with its judged candidates."""
        return ComparedTeam(self.name, [read_candidates(evaluation) for evaluation in self.evaluations])


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
        compute=lambda run: _compute(workspace, run, questions, baseline, treatments),
        tags={"baseline": baseline.name, "treatment": ", ".join(names)},
    )


def _compute(
    workspace: Workspace, run: StageRun, questions: Artifact, baseline: Side, treatments: Sequence[Side]
) -> None:
    measured = baseline.read()
    answered = {row.question_id for row in measured.seeds[0]}
    notice = power_notice(len(answered), seeds=len(measured.seeds))
    workspace.progress.note(notice)
    sets = question_sets(answered, validation_ids(questions))
    compared = compare_question_sets(sets, measured, [side.read() for side in treatments])
    typed, report = run.work / "comparisons.json", run.work / "comparison.md"
    write_comparisons(typed, compared)
    run.output("comparisons", ArtifactKind.REPORT, typed)
    page = comparison_page(compared, notice=notice, looks=workspace.look(run))
    report.write_text(page, encoding="utf-8")
    run.output("report", ArtifactKind.REPORT, report)
    run.log_text("comparison.md", page)
    run.log_metrics(compared.as_mlflow())
    for comparison in compared.on(ALL):
        run.log_figure(f"gap_by_database_{comparison.treatment}", gap_forest(comparison))
