"""The plans of the train questions: what the other agents' SFT data and every pool are made of.

They come from the SFT planner itself, or, with ``rollout.folds``, from planners that never saw the question.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from mats_sql.pipeline.cross_fitting import train_folds
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.sft_planner import sft_planner
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout.pool import FixRow, PlanRow, Pool, write_pool
from mats_sql.rollout.sample import Sampler, Source
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("rollout-plans", 1)


def rollout_plans(workspace: Workspace) -> StageResult:
    """Return the judged plans of every train question (`plans`): what the other agents' SFT data are made of."""
    experiment = workspace.experiment
    questions = prepare(workspace).outputs["questions"]
    folds = range(experiment.rollout.folds)
    planners = [_planner_for(workspace, fold).outputs["model"] for fold in folds]
    return workspace.run(
        KEY,
        title=f"rollout {experiment.rollout.plans} plans per train question",
        settings=rollout_settings(workspace),
        inputs={"questions": questions, **{_planner_name(fold, len(folds)): planners[fold] for fold in folds}},
        compute=lambda run: _draw_plans(workspace, run, train_source(experiment, questions), planners),
    )


def _planner_for(workspace: Workspace, fold: int) -> StageResult:
    """Return the planner that writes the plans of a fold: with one fold, the team's own."""
    return sft_planner(workspace, without_fold=fold if workspace.experiment.rollout.folds > 1 else None)


def _planner_name(fold: int, folds: int) -> str:
    return "planner" if folds == 1 else f"planner_without_fold_{fold + 1}"


def rollout_settings(workspace: Workspace) -> dict[str, object]:
    """Return the settings that decide what is drawn."""
    experiment = workspace.experiment
    return {
        "rollout": experiment.rollout.model_dump(mode="json", exclude={"questions"}),
        "generation": experiment.generation.answer_settings(),
        "benchmark": experiment.benchmark.prompt_settings(),
        "limits": experiment.sql.limits,
        "seed": experiment.seed,
    }


def sampler(workspace: Workspace) -> Sampler:
    """Return the sampler of the experiment."""
    experiment = workspace.experiment
    return Sampler(experiment.rollout, experiment.generation, workspace.judge(), experiment.seed)


def publish_pool(run: StageRun, pool: Pool, name: str, elapsed_s: float) -> None:
    """Write a pool as the run's output, and its sizes, outcomes and cost as metrics."""
    folder = run.work / name
    write_pool(pool, folder)
    run.output(name, ArtifactKind.DATASET, folder)
    run.log_metrics(
        {
            "plans": len(pool.plans),
            "reviews": len(pool.reviews()),
            "critiques": len(pool.critiques),
            "fixes": len(pool.fixes),
            "tokens": sum(row.token_count for rows in (pool.plans, pool.critiques, pool.fixes) for row in rows),
            "elapsed_s": elapsed_s,
            **_verdict_shares("plans", pool.plans),
            **_verdict_shares("fixes", pool.fixes),
        }
    )


def _draw_plans(workspace: Workspace, run: StageRun, source: Source, planners: Sequence[Artifact]) -> None:
    started = time.monotonic()
    plans: list[PlanRow] = []
    for planner, fold in zip(planners, train_folds(workspace.experiment, source), strict=True):
        with workspace.engine(planner.path) as engine:
            plans += sampler(workspace).plans(source.part(fold), engine)
    plans.sort(key=lambda row: (row.question_id, row.sample_index))
    publish_pool(run, Pool(tuple(plans)), "plans", time.monotonic() - started)


def _verdict_shares(name: str, rows: Sequence[PlanRow] | Sequence[FixRow]) -> dict[str, float]:
    counts = Counter(row.verdict.value for row in rows)
    return {f"{name}_{verdict}": count / len(rows) for verdict, count in counts.items()}
