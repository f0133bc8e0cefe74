"""One SFT run: which agent is trained, from which checkpoint, on examples made from which inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mats_sql.config import SftSettings
from mats_sql.pipeline.models import base_model
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.training_run import log_steps, write_examples
from mats_sql.pipeline.workspace import Workspace
from mats_sql.seeds import derive_seed
from mats_sql.teaching.example import SftExample
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("sft", 1)


@dataclass(frozen=True, slots=True)
class Course:
    """What one agent learns. ``examples`` is called only when the run is not reused."""

    agent: str
    base: str
    inputs: Mapping[str, Artifact]
    examples: Callable[[], Sequence[SftExample]]
    tags: Mapping[str, str] = field(default_factory=dict)


def train(workspace: Workspace, course: Course) -> StageResult:
    """Return the trained agent (`model`) and its data (`examples`)."""
    experiment = workspace.experiment
    settings = experiment.sft.of(course.agent)
    base = base_model(course.base)
    seed = derive_seed(experiment.seed, "sft", course.agent)
    return workspace.run(
        KEY,
        title=f"sft {course.agent}" + "".join(f", {value}" for value in course.tags.values()),
        settings={
            "agent": course.agent,
            "sft": settings,
            "teacher": experiment.teacher,
            "benchmark": experiment.benchmark.prompt_settings(),
            "seed": seed,
            **course.tags,
        },
        inputs={"base": base, **course.inputs},
        compute=lambda run: _compute(run, workspace.progress, course, base, settings, seed),
        tags={"agent": course.agent, **course.tags},
    )


def _compute(
    run: StageRun, progress: Progress, course: Course, base: Artifact, settings: SftSettings, seed: int
) -> None:
    from mats_sql.training.arguments import planned_steps
    from mats_sql.training.sft import train_sft

    examples = course.examples()
    table = run.work / "examples.parquet"
    write_examples(examples, table)
    run.output("examples", ArtifactKind.DATASET, table)
    report = train_sft(
        examples,
        base=base.path,
        out=run.work / "model",
        settings=settings,
        seed=seed,
        on_metrics=log_steps(run, progress, planned_steps(len(examples), settings)),
        checkpoints=run.work / "checkpoints",
    )
    run.log_metrics({"examples": len(examples), "dropped": len(report.dropped), **report.metrics})
    run.output("model", ArtifactKind.MODEL, run.work / "model", {"agent": course.agent, **course.tags})
