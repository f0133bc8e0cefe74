"""`compare`: paired differences of teams at selector EX, with honest statistics.

Reads the questions table and the judged candidates of every side, controls included. Computes each gap once, on all
usable dev questions and outside the validation split. Writes the typed ``comparisons``, which everybody who shows a gap
reads, and the ``report``; each look at the final set is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mats_sql.choices import SeedsVary
from mats_sql.evaluation import ALL, question_sets
from mats_sql.evaluation.comparison import (
    ComparedControl,
    ComparedTeam,
    compare_question_sets,
    power_notice,
    write_comparisons,
)
from mats_sql.evaluation.report import comparison_page, comparison_table, gap_forest
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.shown import described
from mats_sql.pipeline.traced import Compared, trace_comparison
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("compare", 5)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name, the evaluation of each of its training seeds, and what those vary."""

    name: str
    evaluations: Sequence[Artifact]
    seeds_vary: SeedsVary

    def read(self) -> ComparedTeam:
        """Return the side with its judged candidates."""
        seeds = [read_candidates(evaluation) for evaluation in self.evaluations]
        return ComparedTeam(self.name, seeds, self.seeds_vary)


@dataclass(frozen=True, slots=True)
class Control:
    """A kind of control, e.g. matched INDEP, and the side that is it for each treatment, by the treatment's name."""

    name: str
    sides: Mapping[str, Side]

    def read(self) -> ComparedControl:
        """Return the control with its judged candidates."""
        return ComparedControl(self.name, {name: side.read() for name, side in self.sides.items()})


def compare(
    workspace: Workspace,
    questions: Artifact,
    baseline: Side,
    treatments: Sequence[Side],
    controls: Sequence[Control] = (),
) -> StageResult:
    """Return the gaps (`comparisons`) and their page (`report`); the metrics hold the gaps on both question sets."""
    names = [side.name for side in treatments]
    beside = {control.name: {name: side.name for name, side in control.sides.items()} for control in controls}
    return workspace.run(
        KEY,
        title=f"compare {', '.join(names)} with {baseline.name}",
        settings={
            "baseline": baseline.name,
            "treatments": names,
            "controls": beside,
            "margin": workspace.experiment.protocol.margin,
            "seeds_vary": {side.name: side.seeds_vary.value for side in (baseline, *treatments, *_sides(controls))},
        },
        inputs={
            "questions": questions,
            **{
                f"{side.name} {index}": evaluation
                for side in (baseline, *treatments, *_sides(controls))
                for index, evaluation in enumerate(side.evaluations)
            },
        },
        compute=lambda run: _compute(workspace, run, questions, baseline, treatments, controls),
        tags={"baseline": baseline.name, "treatment": ", ".join(names)},
    )


def _sides(controls: Sequence[Control]) -> Iterator[Side]:
    return (side for control in controls for side in control.sides.values())


def _compute(
    workspace: Workspace,
    run: StageRun,
    questions: Artifact,
    baseline: Side,
    treatments: Sequence[Side],
    controls: Sequence[Control],
) -> None:
    measured = baseline.read()
    answered = {row.question_id for row in measured.seeds[0]}
    notice = power_notice(len(answered), seeds=len(measured.seeds))
    workspace.progress.note(notice)
    sets = question_sets(answered, validation_ids(questions))
    treated, beside = [side.read() for side in treatments], [control.read() for control in controls]
    compared = compare_question_sets(sets, measured, treated, beside, margin=workspace.experiment.protocol.margin)
    typed, report = run.work / "comparisons.json", run.work / "comparison.md"
    write_comparisons(typed, compared)
    run.output("comparisons", ArtifactKind.REPORT, typed)
    page = comparison_page(compared, notice=notice, looks=workspace.look(run))
    report.write_text(page, encoding="utf-8")
    run.output("report", ArtifactKind.REPORT, report)
    run.log_text("comparison.md", page)
    run.log_metrics(compared.as_mlflow())
    verdicts = [f"On {name}: {gap.verdict}" for name in compared.question_sets for gap in compared.on(name)]
    run.description = described(verdicts, comparison_table(compared.on(ALL), ALL).to_markdown())
    for comparison in compared.on(ALL):
        run.log_figure(f"gap_by_database_{comparison.treatment}", gap_forest(comparison))
    sides = [
        Compared(side.name, side.evaluations[0], read.seeds[0])
        for side, read in zip((baseline, *treatments), (measured, *treated), strict=True)
    ]
    trace_comparison(workspace, run, sides[0], sides[1:])
