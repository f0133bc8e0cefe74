"""`orpo`: train one agent on preference pairs.

Reads a checkpoint, training pairs and held-out pairs. Trains. Writes the ``model``; without any pair it is the
checkpoint as it was, so that a regime with nothing to teach one agent still gives a team.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from mats_sql.config import OrpoSettings, regime_name
from mats_sql.links import link_tree
from mats_sql.parquet import read_records
from mats_sql.pipeline.shown import preference_settings, preference_tags, run_title
from mats_sql.pipeline.training_log import log_final, log_steps
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import PreferencePair
from mats_sql.seeds import derive_seed
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("orpo", 2)


@dataclass(frozen=True, slots=True)
class PreferenceCourse:
    """Which agent is trained with ORPO, from which checkpoint, on which pairs; ``seed`` numbers the replicate."""

    agent: str
    base: Artifact
    pairs: Artifact
    evaluation: Artifact
    regime: str
    seed: int
    tags: Mapping[str, str] = field(default_factory=dict)


def orpo(workspace: Workspace, course: PreferenceCourse) -> StageResult:
    """Return the agent of a course (`model`) after ORPO on its pairs."""
    experiment = workspace.experiment
    settings = experiment.orpo
    # the same for every regime: data alone tell two regimes apart
    seed = derive_seed(experiment.seed, "orpo", course.agent, course.seed)
    return workspace.run(
        KEY,
        title=run_title(f"{regime_name(course.regime)} {course.agent}, seed {course.seed}", "orpo"),
        settings={
            "agent": course.agent,
            "orpo": settings,
            "seed": seed,
            "regime": course.regime,
            **experiment.training.identity(),
        },
        inputs={"base": course.base, "pairs": course.pairs, "evaluation": course.evaluation},
        compute=lambda run: _compute(workspace, run, course, settings, seed),
        tags={
            "agent": course.agent,
            "regime": course.regime,
            "seed": str(course.seed),
            **preference_tags(experiment),
            **course.tags,
        },
        parameters={"seed": course.seed, "derived_seed": seed, **preference_settings(experiment), **course.tags},
    )


def _compute(workspace: Workspace, run: StageRun, course: PreferenceCourse, settings: OrpoSettings, seed: int) -> None:
    from mats_sql.training import TrainingJob, planned_steps, train

    pairs, model = len(read_records(PreferencePair, course.pairs.path)), run.work / "model"
    if pairs:
        table, held_out = course.pairs.path, course.evaluation.path
        job = TrainingJob(course.base.path, model, settings, seed, table, held_out, run.work / "checkpoints")
        heard = log_steps(run, workspace.progress, planned_steps(pairs, settings))
        report = train(job, workspace.experiment.training, heard)
        log_final(run, report.metrics, dropped=len(report.dropped))
    else:
        shutil.rmtree(model, ignore_errors=True)
        link_tree(course.base.path, model)
        run.log_metrics({"dropped": 0.0, "train_steps": 0.0})
        workspace.progress.note(
            f"orpo {course.agent} {course.regime}: no pairs, so the model is the one it had before, unchanged"
        )
    run.output("model", ArtifactKind.MODEL, model, {"agent": course.agent, "regime": course.regime})
