"""`sft`: train one agent on a teacher's answers.

The planner learns from the gold SQL of the train questions. Validators and fixer learn from what that planner then
writes, with labels; the selector from the candidates of a pool, with the critiques they really got.

Reads the questions table, the train split, and plans or a pool. Computes examples, then the training. Writes the
``examples`` and the ``model``; without any example (no plan held a SQL to learn from) it is the base as it was, so that
a base that writes nonsense still gives a team.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mats_sql.agents import FIXER, PLANNER, PROMPT_VERSIONS, SELECTOR, Validator, validator_name
from mats_sql.benchmark import Schema
from mats_sql.choices import FixerCritique
from mats_sql.config import Experiment, GenerationSettings, SftSettings
from mats_sql.parquet import write_records
from mats_sql.pipeline.questions import TRAIN, read_split, train_folds, train_source
from mats_sql.pipeline.training_log import log_final, log_steps
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout import Source, labelled_candidates, labelled_plans, read_pool
from mats_sql.seeds import derive_seed, replicate_seed
from mats_sql.teaching import (
    TEACHER_VERSIONS,
    LabelledReview,
    RuleTeacher,
    SftExample,
    Teacher,
    fixer_examples,
    planner_examples,
    selector_examples,
    validator_examples,
)
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("sft", 3)


@dataclass(frozen=True, slots=True)
class Course:
    """What one agent learns: ``examples`` is called only when the run is not reused; ``seed`` numbers the replicate."""

    agent: str
    base: Artifact
    inputs: Mapping[str, Artifact]
    examples: Callable[[], Sequence[SftExample]]
    seed: int
    tags: Mapping[str, str] = field(default_factory=dict)


def sft_planner(
    workspace: Workspace, base: Artifact, questions: Artifact, *, seed: int = 0, without_fold: int | None = None
) -> StageResult:
    """Return the SFT planner (`model`), or one that learns from all but a fold of the train questions."""
    experiment = workspace.experiment

    def examples() -> Sequence[SftExample]:
        source = _without(experiment, train_source(experiment, questions), without_fold)
        tasks = source.tasks.values()
        texts = {task.question.question_id: task.schema_text for task in tasks}
        with _teacher(workspace) as teacher:
            return planner_examples(
                [task.question for task in tasks],
                lambda question: texts[question.question_id],
                source.golds,
                _schemas(experiment),
                teacher,
            )

    tags = {} if without_fold is None else {"without_fold": f"{without_fold + 1} of {experiment.rollout.folds}"}
    return _train(workspace, Course(PLANNER, base, {"questions": questions}, examples, seed, tags))


def sft_validator(
    workspace: Workspace, validator: Validator, base: Artifact, questions: Artifact, plans: Artifact, *, seed: int = 0
) -> StageResult:
    """Return an SFT validator (`model`)."""
    experiment = workspace.experiment

    def examples() -> Sequence[SftExample]:
        reviews = _labelled_plans(experiment, questions, plans)
        with _teacher(workspace) as teacher:
            root = replicate_seed(experiment.seed, seed)
            return validator_examples(validator, reviews, teacher, schemas=_schemas(experiment), seed=root)

    inputs = {"questions": questions, "plans": plans}
    return _train(workspace, Course(validator_name(validator), base, inputs, examples, seed))


def sft_fixer(
    workspace: Workspace, mode: FixerCritique, base: Artifact, questions: Artifact, plans: Artifact, *, seed: int = 0
) -> StageResult:
    """Return the SFT fixer (`model`) of one critique mode."""
    experiment = workspace.experiment

    def examples() -> Sequence[SftExample]:
        reviews = _labelled_plans(experiment, questions, plans)
        with _teacher(workspace) as teacher:
            root = replicate_seed(experiment.seed, seed)
            return fixer_examples(reviews, teacher, schemas=_schemas(experiment), mode=mode, seed=root)

    inputs = {"questions": questions, "plans": plans}
    tags = {"fixer_critique": mode.value}
    return _train(workspace, Course(FIXER, base, inputs, examples, seed, tags))


def sft_selector(
    workspace: Workspace, base: Artifact, questions: Artifact, pool: Artifact, *, seed: int = 0
) -> StageResult:
    """Return the SFT selector (`model`), trained on the candidates of a pool with their real critiques."""
    experiment = workspace.experiment

    def examples() -> Sequence[SftExample]:
        candidates = labelled_candidates(read_pool(pool.path), train_source(experiment, questions))
        return selector_examples(candidates, seed=replicate_seed(experiment.seed, seed))

    inputs = {"questions": questions, "pool": pool}
    return _train(workspace, Course(SELECTOR, base, inputs, examples, seed))


def _train(workspace: Workspace, course: Course) -> StageResult:
    experiment = workspace.experiment
    settings = experiment.sft.of(course.agent)
    seed = derive_seed(replicate_seed(experiment.seed, course.seed), "sft", course.agent)
    told = [*course.tags.values(), *([f"seed {course.seed}"] if course.seed else [])]
    return workspace.run(
        KEY,
        title=", ".join([f"sft {course.agent}", *told]),
        settings={
            "agent": course.agent,
            "sft": settings,
            "teacher": experiment.teacher,
            "teacher_version": TEACHER_VERSIONS[experiment.teacher.kind],
            "prompts": PROMPT_VERSIONS,
            "benchmark": experiment.benchmark.prompt_settings(),
            "seed": seed,
            **experiment.training.identity(),
            **course.tags,
        },
        inputs={"base": course.base, **course.inputs},
        compute=lambda run: _compute(workspace, run, course, settings, seed),
        tags={"agent": course.agent, "seed": str(course.seed), **course.tags},
    )


def _compute(workspace: Workspace, run: StageRun, course: Course, settings: SftSettings, seed: int) -> None:
    from mats_sql.training import TrainingJob, planned_steps, train

    examples, model = course.examples(), run.work / "model"
    table = run.work / "examples.parquet"
    write_records(examples, SftExample, table)
    run.output("examples", ArtifactKind.DATASET, table)
    if examples:
        job = TrainingJob(course.base.path, model, settings, seed, table, None, run.work / "checkpoints")
        planned = planned_steps(len(examples), settings)
        report = train(job, workspace.experiment.training, log_steps(run, workspace.progress, planned))
        run.log_metrics({"examples": len(examples)})
        log_final(run, report.metrics, dropped=len(report.dropped))
    else:
        shutil.copytree(course.base.path, model, dirs_exist_ok=True)
        run.log_metrics({"examples": 0.0, "dropped": 0.0, "train_steps": 0.0})
        workspace.progress.note(f"  sft {course.agent}: no examples, so the model is the one it starts from, unchanged")
    run.output("model", ArtifactKind.MODEL, model, {"agent": course.agent, **course.tags})


@contextmanager
def _teacher(workspace: Workspace) -> Iterator[Teacher]:
    """Open the experiment's teacher; a large model's unusable answers are counted and told at the end.

    Raises :class:`~mats_sql.errors.EngineError` when the large model's server cannot be reached.
    """
    settings = workspace.experiment.teacher
    if settings.kind == "rules":
        yield RuleTeacher()
        return
    from mats_sql.generation import open_engine
    from mats_sql.teaching import LargeModelTeacher

    server = GenerationSettings(engine="openai", base_url=settings.base_url, api_key_variable=settings.api_key_variable)
    cache, counter = workspace.cache / "teacher.sqlite", workspace.progress.counter("taught")
    engine = open_engine(server, settings.model, cache=cache, on_drawn=counter)
    try:
        large = LargeModelTeacher(engine, max_new_tokens=settings.max_new_tokens)
        yield large
        if large.unusable:
            workspace.progress.note(f"  {large.unusable} of the teacher's answers were unusable and left out")
    finally:
        engine.close()


def _labelled_plans(experiment: Experiment, questions: Artifact, plans: Artifact) -> list[LabelledReview]:
    return labelled_plans(read_pool(plans.path), train_source(experiment, questions))


def _schemas(experiment: Experiment) -> Mapping[str, Schema]:
    return read_split(experiment, TRAIN).schemas


def _without(experiment: Experiment, source: Source, fold: int | None) -> Source:
    if fold is None:
        return source
    return source.part(source.tasks.keys() - train_folds(experiment, source)[fold])
