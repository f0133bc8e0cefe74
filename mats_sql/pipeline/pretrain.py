"""`pretrain`: rebuild the lab's base model from nothing. The packaged one was made this way."""

from __future__ import annotations

from mats_sql.pipeline.training_log import log_steps
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("pretrain", 1)


def pretrain(workspace: Workspace) -> StageResult:
    """Return the base model (`model`); give its folder as `models.planner` and the others to train from it."""
    settings = workspace.experiment.pretrain
    result = workspace.run(
        KEY,
        title="pretrain the lab's base model",
        settings={"pretrain": settings},
        inputs={},
        compute=lambda run: _compute(workspace, run),
        tags={"agent": "base"},
    )
    workspace.progress.note(f"base model: {result.outputs['model'].path}")
    return result


def _compute(workspace: Workspace, run: StageRun) -> None:
    from mats_sql.lab.pretraining import pretrain as make
    from mats_sql.lab.pretraining import step_count

    settings = workspace.experiment.pretrain
    report = make(run.work / "model", settings, log_steps(run, workspace.progress, step_count(settings)))
    run.log_metrics(
        {
            "copy_loss": report.copy_loss,
            "loss": report.loss,
            "parameters": report.parameters,
            "steps": report.steps,
        }
    )
    run.output("model", ArtifactKind.MODEL, run.work / "model", {"agent": "base"})
