"""`pretrain`: make a base model for the lab from nothing, or go on from one."""

from __future__ import annotations

import math

from mats_sql.digests import digest_json
from mats_sql.pipeline.base_models import base_model
from mats_sql.pipeline.training_log import log_steps
from mats_sql.pipeline.workspace import Workspace, plain
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("pretrain", 6)


def pretrain_base(workspace: Workspace) -> StageResult:
    """Return the base model (`model`); give its folder as `models.planner` and the others to train from it."""
    settings = workspace.experiment.pretrain
    start = base_model(settings.start) if settings.start else None
    result = workspace.run(
        KEY,
        title="pretrain the lab's base model",
        settings={"pretrain": settings},
        inputs={} if start is None else {"start": start},
        compute=lambda run: _compute(workspace, run, start),
        tags={"agent": "base"},
    )
    workspace.progress.note(f"base model: {result.outputs['model'].path}")
    return result


def _compute(workspace: Workspace, run: StageRun, start: Artifact | None) -> None:
    from mats_sql.lab import GENERATOR_VERSION, pretrain, step_count

    settings = workspace.experiment.pretrain
    made_of = [KEY.version, GENERATOR_VERSION, plain(settings), start.digest if start else ""]
    state = workspace.cache / "pretraining" / digest_json(made_of)[:16]
    workspace.progress.note(f"checkpoints and snapshots: {state}")
    log = log_steps(run, workspace.progress, step_count(settings))
    report = pretrain(run.work / "model", settings, log, state, start.path if start else None)
    losses = {"copy_loss": report.copy_loss, "loss": report.loss}
    run.log_metrics({name: loss for name, loss in losses.items() if not math.isnan(loss)})  # no steps, no loss
    run.log_metrics({"parameters": report.parameters, "steps": report.steps})
    run.output("model", ArtifactKind.MODEL, run.work / "model", {"agent": "base"})
