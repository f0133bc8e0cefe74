"""`pretrain`: rebuild the lab's base model from nothing. The packaged one was made this way."""

from __future__ import annotations

from mats_sql.digests import digest_json
from mats_sql.pipeline.training_log import log_steps
from mats_sql.pipeline.workspace import Workspace, plain
from mats_sql.tracking import ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("pretrain", 5)


def pretrain_base(workspace: Workspace) -> StageResult:
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
    from mats_sql.lab import GENERATOR_VERSION, pretrain, step_count

    settings = workspace.experiment.pretrain
    state = workspace.cache / "pretraining" / digest_json([KEY.version, GENERATOR_VERSION, plain(settings)])[:16]
    workspace.progress.note(f"checkpoints and snapshots: {state}")
    log = log_steps(run, workspace.progress, step_count(settings))
    report = pretrain(run.work / "model", settings, log, state)
    run.log_metrics(
        {
            "copy_loss": report.copy_loss,
            "loss": report.loss,
            "parameters": report.parameters,
            "steps": report.steps,
        }
    )
    run.output("model", ArtifactKind.MODEL, run.work / "model", {"agent": "base"})
