"""`evaluate`: run a team on the usable dev questions, judge every candidate, keep the table and its metrics."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pandas as pd
from rich.console import Console

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.agents.names import FIXER, PLANNER, SELECTOR, validator_name
from mats_sql.errors import StageInputError
from mats_sql.evaluation.frames import candidates_frame, candidates_from_frame
from mats_sql.evaluation.judged_answers import answers_frame, judge_items, judged_candidates
from mats_sql.evaluation.metrics import team_metrics
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.evaluation.report.plots import verdict_confusion
from mats_sql.evaluation.report.result_tables import EvaluatedTeam, result_tables
from mats_sql.evaluation.report.terminal import print_tables
from mats_sql.generation.engine import Engine
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import dev_source, validation_ids
from mats_sql.pipeline.teams import TeamModels, assemble, teams_named
from mats_sql.pipeline.workspace import Workspace
from mats_sql.team.flow import Agents, Team
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("evaluate", 1)


def evaluate(workspace: Workspace, models: TeamModels, *, validation_only: bool = False) -> StageResult:
    """Return a team's judged candidates (`candidates`) on all usable dev questions, or on the validation split."""
    experiment = workspace.experiment
    questions = prepare(workspace).outputs["questions"]
    team = assemble(workspace, models).outputs["team"]
    part = "validation" if validation_only else "dev"
    return workspace.run(
        KEY,
        title=f"evaluate {models.label}" + (" on validation" if validation_only else ""),
        settings={"part": part, "limits": experiment.sql.limits, "seed": experiment.seed},
        inputs={"questions": questions, "team": team},
        compute=lambda run: _compute(workspace, run, team, questions, validation_only=validation_only),
        tags={**models.tags(), "part": part},
    )


def evaluate_teams(workspace: Workspace, name: str) -> None:
    """Evaluate the teams of that name, or all teams of the experiment, and print their table."""
    evaluated = [(models, evaluate(workspace, models)) for models in teams_named(workspace, name)]
    questions = prepare(workspace).outputs["questions"]
    teams = [EvaluatedTeam(models.label, read_candidates(result.outputs["candidates"])) for models, result in evaluated]
    tables = result_tables(teams, validation_ids(questions))
    print_tables(Console(highlight=False), tables, rest="the runs' metrics")


def read_candidates(evaluation: Artifact) -> tuple[JudgedCandidate, ...]:
    """Return the judged candidates that an evaluation wrote."""
    return candidates_from_frame(pd.read_parquet(evaluation.path))


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
    judgements = workspace.judge().judge_many(judge_items(answers, source.golds))
    candidates = judged_candidates(answers, judgements)
    path = run.work / "candidates.parquet"
    candidates_frame(candidates).to_parquet(path, index=False)
    run.output("candidates", ArtifactKind.DATASET, path, {"team": team.metadata["team"]})
    run.log_metrics(team_metrics(candidates).as_mlflow())
    run.log_table("answers", answers_frame(candidates, source.tasks))
    if any(row.select_verdict is not Verdict.MISSING for row in candidates):
        run.log_figure("verdicts", verdict_confusion(team.metadata["team"], candidates))
    if not validation_only:
        rest = [row for row in candidates if row.question_id not in validation]
        run.log_metrics({f"rest/{name}": value for name, value in team_metrics(rest).as_mlflow().items()})
