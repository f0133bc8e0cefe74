"""`evaluate`: run a team on dev questions and judge every candidate.

Reads the questions table and a team. Answers, judges, measures. Writes the judged ``candidates``; an evaluation on all
usable dev questions is a look at the final set and counts as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from mats_sql.agents.critique import Critique, Validator, Verdict
from mats_sql.agents.names import FIXER, PLANNER, SELECTOR, validator_name
from mats_sql.errors import StageInputError
from mats_sql.evaluation.metrics import team_metrics
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.evaluation.report.plots import verdict_confusion
from mats_sql.generation.engine import Engine
from mats_sql.parquet import read_records, write_records
from mats_sql.pipeline.assemble import TeamModels
from mats_sql.pipeline.questions import dev_source, validation_ids
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout.sample import Source
from mats_sql.sql.judge import JudgeItem
from mats_sql.sql.verdict import VerdictClass
from mats_sql.team.flow import Agents, Task, Team, TeamAnswer
from mats_sql.team.policy import Candidate
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("evaluate", 1)


def evaluate(
    workspace: Workspace, questions: Artifact, team: Artifact, models: TeamModels, *, validation_only: bool = False
) -> StageResult:
    """Return a team's judged candidates (`candidates`) on all usable dev questions, or on the validation split."""
    experiment = workspace.experiment
    part = "validation" if validation_only else "dev"
    return workspace.run(
        KEY,
        title=f"evaluate {models.label}" + (" on validation" if validation_only else ""),
        settings={"part": part, "limits": experiment.sql.limits, "seed": experiment.seed},
        inputs={"questions": questions, "team": team},
        compute=lambda run: _compute(workspace, run, team, questions, validation_only=validation_only),
        tags={**models.tags(), "part": part},
    )


def read_candidates(evaluation: Artifact) -> tuple[JudgedCandidate, ...]:
    """Return the judged candidates that an evaluation wrote."""
    return tuple(read_records(JudgedCandidate, evaluation.path))


def open_agents(workspace: Workspace, folder: Path, resources: ExitStack) -> Agents:
    """Return an engine per agent of a team's folder, closed with ``resources``; completions are cached."""

    def engine(name: str) -> Engine | None:
        path = folder / name
        return resources.enter_context(workspace.engine(path)) if path.is_dir() else None

    planner = engine(PLANNER)
    if planner is None:
        raise StageInputError(f"a team must have a planner, but {folder} has none; run assemble again")
    validators = {validator: engine(validator_name(validator)) for validator in Validator}
    return Agents(
        planner=planner,
        validators={validator: found for validator, found in validators.items() if found is not None},
        fixer=engine(FIXER),
        selector=engine(SELECTOR),
    )


def judged(workspace: Workspace, answers: Sequence[TeamAnswer], source: Source) -> list[JudgedCandidate]:
    """Return every candidate of every answer with its verdict."""
    rows = [(answer.task, candidate) for answer in answers for candidate in answer.candidates]
    items = [JudgeItem(task.database, source.golds[task.question.question_id], row.sql) for task, row in rows]
    judgements = workspace.judge().judge_many(items)
    return [
        _judged_candidate(task, row, judgement.official)
        for (task, row), judgement in zip(rows, judgements, strict=True)
    ]


def answers_frame(candidates: Sequence[JudgedCandidate], source: Source) -> pd.DataFrame:
    """Return a row per question: what was asked, what was selected and whether it is right."""
    return pd.DataFrame(
        [
            {
                "question_id": row.question_id,
                "db_id": row.db_id,
                "difficulty": row.difficulty,
                "question": source.tasks[row.question_id].question.text,
                "selected_sql": row.sql or "",
                "verdict": row.verdict.value,
                "origin": row.origin,
                "sample_index": row.sample_index,
                "selector_score": row.selector_score,
                "group_size": row.group_size,
            }
            for row in candidates
            if row.selected
        ]
    )


def _compute(
    workspace: Workspace, run: StageRun, team: Artifact, questions: Artifact, *, validation_only: bool
) -> None:
    experiment = workspace.experiment
    validation = validation_ids(questions)
    source = dev_source(experiment, questions)
    tasks = [task for key, task in source.tasks.items() if not validation_only or key in validation]
    with ExitStack() as resources:
        agents = open_agents(workspace, team.path, resources)
        flow = Team(agents, experiment.policy, experiment.generation, workspace.executor(), experiment.seed)
        answers = flow.answer_many(tasks)
    candidates = judged(workspace, answers, source)
    path = run.work / "candidates.parquet"
    write_records(candidates, JudgedCandidate, path)
    run.output("candidates", ArtifactKind.DATASET, path, {"team": team.metadata["team"]})
    run.log_metrics(team_metrics(candidates).as_mlflow())
    run.log_table("answers", answers_frame(candidates, source))
    if any(row.select_verdict is not Verdict.MISSING for row in candidates):
        run.log_figure("verdicts", verdict_confusion(team.metadata["team"], candidates))
    if not validation_only:
        workspace.look(run)
        rest = [row for row in candidates if row.question_id not in validation]
        run.log_metrics({f"rest/{name}": value for name, value in team_metrics(rest).as_mlflow().items()})


def _judged_candidate(task: Task, row: Candidate, verdict: VerdictClass) -> JudgedCandidate:
    question = task.question
    return JudgedCandidate(
        question_id=question.question_id,
        db_id=question.db_id,
        difficulty=question.difficulty,
        sample_index=row.sample_index,
        origin=row.origin,
        sql=row.sql,
        outcome=row.execution.outcome,
        result_digest=row.execution.digest,
        verdict=verdict,
        gate_open=row.gate_open,
        in_pool=row.eligible,
        selected=row.selected,
        select_verdict=_verdict(row.critiques, Validator.SELECT),
        condition_verdict=_verdict(row.critiques, Validator.CONDITION),
        selector_score=row.score,
        group_size=row.group_size,
    )


def _verdict(critiques: Iterable[Critique], validator: Validator) -> Verdict:
    return next((item.verdict for item in critiques if item.validator is validator), Verdict.MISSING)
