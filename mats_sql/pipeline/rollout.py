"""`rollout`: draw the pool of critiques and fixes over a part of the train questions."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mats_sql.agents.critique import Validator
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.rollout_plans import publish_pool, rollout_plans, rollout_settings, sampler
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout.pool import Pool, read_pool
from mats_sql.rollout.sample import Source, reviews_of
from mats_sql.tracking.artifact import Artifact
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("rollout-pool", 1)


def draw_pool(
    workspace: Workspace, validators: Mapping[Validator, Artifact], fixer: Artifact, *, label: str
) -> StageResult:
    """Return the pool of a part of the train questions for any validators and fixer."""
    experiment = workspace.experiment
    questions = prepare(workspace).outputs["questions"]
    plans = rollout_plans(workspace).outputs["plans"]

    def compute(run: StageRun) -> None:
        part = train_source(experiment, questions, experiment.rollout.questions)
        _draw_pool(workspace, run, part, plans, validators, fixer)

    return workspace.run(
        KEY,
        title=f"rollout pool, {label}",
        settings={**rollout_settings(workspace), "questions": experiment.rollout.questions},
        inputs={
            "questions": questions,
            "plans": plans,
            **{f"{validator.value}_validator": model for validator, model in validators.items()},
            "fixer": fixer,
        },
        compute=compute,
        tags={"fixer": label},
    )


def _draw_pool(
    workspace: Workspace,
    run: StageRun,
    source: Source,
    plans: Artifact,
    validators: Mapping[Validator, Artifact],
    fixer: Artifact,
) -> None:
    started = time.monotonic()
    draw = sampler(workspace)
    rows = tuple(row for row in read_pool(plans.path).plans if row.question_id in source.tasks)
    reviews = reviews_of(source, rows)
    critiques = []
    for validator, model in validators.items():
        with workspace.engine(model.path) as engine:
            critiques += draw.critiques(reviews, validator, engine)
    with workspace.engine(fixer.path) as engine:
        fixes = draw.fixes(source, reviews, critiques, engine)
    publish_pool(run, Pool(rows, tuple(critiques), tuple(fixes)), "pool", time.monotonic() - started)
