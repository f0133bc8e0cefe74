"""Which answers become MLflow traces: a sample of an evaluation, and the questions on which two teams part.

Traces are shown, not meant: settings of `traces` are in no fingerprint, and a reused run logs none again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mats_sql.evaluation import JudgedCandidate
from mats_sql.parquet import read_records
from mats_sql.pipeline.questions import dev_part
from mats_sql.rollout import Source
from mats_sql.seeds import derive_seed
from mats_sql.sql import VerdictClass
from mats_sql.team import Spoken
from mats_sql.tracking import Artifact, Judged, StageRun, TracedAnswer, TraceSource, load_result, log_traces

if TYPE_CHECKING:
    from mats_sql.pipeline.assemble import TeamModels
    from mats_sql.pipeline.workspace import Workspace

TRANSCRIPT = "transcript"
"""The output of an evaluation that holds what every agent said."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One side of a comparison: its name, an evaluation of it, and that evaluation's candidates."""

    name: str
    evaluation: Artifact
    candidates: Sequence[JudgedCandidate]

    @property
    def right(self) -> frozenset[int]:
        """The questions that it answers right."""
        rows = (row for row in self.candidates if row.selected)
        return frozenset(row.question_id for row in rows if row.verdict is VerdictClass.CORRECT)


def trace_evaluation(
    workspace: Workspace,
    run: StageRun,
    models: TeamModels,
    model_id: str,
    source: Source,
    candidates: Sequence[JudgedCandidate],
    said: Sequence[Spoken],
) -> None:
    """Log a sample of an evaluation's answers, of the same questions for every team."""
    count, seed = workspace.experiment.traces.evaluation, workspace.experiment.seed
    wanted: dict[int, dict[str, str]] = {question_id: {} for question_id in _sample(source.tasks, count, seed)}
    answers = _traced(models.label, wanted, source, candidates, said)
    log_traces(run.store.tracking_uri, TraceSource(run.store.experiment_id, run.run_id, model_id), answers)


def trace_comparison(workspace: Workspace, run: StageRun, baseline: Compared, treatments: Sequence[Compared]) -> None:
    """Log both sides' answers, of their first seeds, to questions that one answers right and the other wrong."""
    experiment = workspace.experiment
    wanted: dict[str, dict[int, dict[str, str]]] = {side.name: {} for side in (baseline, *treatments)}
    for treatment in treatments:
        parting = baseline.right ^ treatment.right
        for question_id in _sample(parting, experiment.traces.comparison, experiment.seed):
            right, wrong = treatment.name, baseline.name
            if question_id in baseline.right:
                right, wrong = wrong, right
            for side in (treatment, baseline):
                wanted[side.name].setdefault(question_id, {"right": right, "wrong": wrong})
    source = dev_part(experiment, {question_id for ids in wanted.values() for question_id in ids})
    answers: list[TracedAnswer] = []
    for side in (baseline, *treatments):
        if not wanted[side.name]:
            continue
        transcript = load_result(run.store, side.evaluation.run_id).outputs.get(TRANSCRIPT)
        if transcript is not None:  # an evaluation of before there were transcripts has none
            said = read_records(Spoken, transcript.path)
            answers += _traced(side.name, wanted[side.name], source, side.candidates, said)
    log_traces(run.store.tracking_uri, TraceSource(run.store.experiment_id, run.run_id), answers)


def _sample(question_ids: Collection[int], count: int, seed: int) -> list[int]:
    """Return so many of the questions, the same ones whenever they are among those given, in order."""
    ranked = sorted(question_ids, key=lambda question_id: derive_seed(seed, "traced", question_id))
    return sorted(ranked[:count])


def _traced(
    name: str,
    wanted: Mapping[int, Mapping[str, str]],
    source: Source,
    candidates: Sequence[JudgedCandidate],
    said: Sequence[Spoken],
) -> list[TracedAnswer]:
    """Return a team's answers to the wanted questions (tags by question id), with their verdicts and golds."""
    chosen = {row.question_id: row for row in candidates if row.selected and row.question_id in wanted}
    rows: dict[int, list[Spoken]] = {question_id: [] for question_id in chosen}
    for one in said:
        if one.question_id in rows:
            rows[one.question_id].append(one)
    return [
        TracedAnswer(
            key=f"{name} {question_id}",
            title=f"{name} · question {question_id}",
            task=source.tasks[question_id],
            rows=rows[question_id],
            tags={"team": name, "verdict": row.verdict.value, **_tags(row), **wanted[question_id]},
            judged=Judged(row.verdict.value, row.verdict is VerdictClass.CORRECT, source.golds[question_id]),
        )
        for question_id, row in chosen.items()
    ]


def _tags(row: JudgedCandidate) -> dict[str, str]:
    return {"question_id": str(row.question_id), "db_id": row.db_id, "difficulty": row.difficulty}
