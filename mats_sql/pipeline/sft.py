"""`sft`: train each agent on the teacher's answers. The others learn from what the SFT planner writes."""

from __future__ import annotations

from collections.abc import Sequence

from mats_sql.agents.critique import Validator
from mats_sql.choices import FixerCritique
from mats_sql.pipeline.course import Course, train
from mats_sql.pipeline.data import TRAIN, read_split
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.rollout_plans import rollout_plans
from mats_sql.pipeline.teaching import teacher
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout.pool import Pool, read_pool
from mats_sql.rollout.sample import Source, reviews_of
from mats_sql.teaching.example import SftExample
from mats_sql.teaching.sft_examples import (
    LabelledReview,
    fixer_examples,
    selector_examples,
    validator_examples,
)
from mats_sql.tracking.artifact import Artifact
from mats_sql.tracking.stage import StageResult


def sft_validator(workspace: Workspace, validator: Validator) -> StageResult:
    """Return an SFT validator (`model`)."""
    experiment = workspace.experiment

    def examples() -> Sequence[SftExample]:
        with teacher(workspace) as opened:
            return validator_examples(
                validator,
                labelled_reviews(workspace),
                opened,
                schemas=read_split(experiment, TRAIN).schemas,
                seed=experiment.seed,
                limit=None,
            )

    return train(
        workspace,
        Course(f"{validator.value}-validator", experiment.models.validator, _plan_inputs(workspace), examples),
    )


def sft_fixer(workspace: Workspace, mode: FixerCritique) -> StageResult:
    """Return the SFT fixer (`model`) of one critique mode."""
    experiment = workspace.experiment

    def examples() -> Sequence[SftExample]:
        with teacher(workspace) as opened:
            return fixer_examples(
                labelled_reviews(workspace),
                opened,
                schemas=read_split(experiment, TRAIN).schemas,
                mode=mode,
                seed=experiment.seed,
                limit=None,
            )

    tags = {"fixer_critique": mode.value}
    return train(workspace, Course("fixer", experiment.models.fixer, _plan_inputs(workspace), examples, tags))


def sft_selector(workspace: Workspace, pool: Artifact) -> StageResult:
    """Return the SFT selector (`model`), trained on the candidates of a pool with their real critiques."""
    experiment = workspace.experiment
    questions = prepare(workspace).outputs["questions"]

    def examples() -> Sequence[SftExample]:
        source = train_source(experiment, questions)
        candidates = pool_candidates(read_pool(pool.path), source)
        return selector_examples(candidates, seed=experiment.seed, limit=None)

    return train(workspace, Course("selector", experiment.models.selector, {"pool": pool}, examples))


def labelled_reviews(workspace: Workspace) -> list[LabelledReview]:
    """Return every distinct SQL that the planner wrote for a train question, with its label and gold."""
    plans = read_pool(rollout_plans(workspace).outputs["plans"].path)
    source = train_source(workspace.experiment, prepare(workspace).outputs["questions"])
    first = plans.reviews()
    return [
        LabelledReview(review, (), first[identity].correct, source.golds[review.question.question_id])
        for identity, review in reviews_of(source, plans.plans).items()
    ]


def pool_candidates(pool: Pool, source: Source) -> list[LabelledReview]:
    """Return what a selector meets: plans' SQL with their greedy critiques, fixes without any."""
    greedy, first = pool.feedbacks(), pool.reviews()
    found = [
        LabelledReview(
            review, greedy.get(identity, ()), first[identity].correct, source.golds[review.question.question_id]
        )
        for identity, review in reviews_of(source, pool.plans).items()
    ]
    fixes = {(fix.question_id, fix.sql): fix for fix in pool.fixes if fix.sql is not None}
    for (question_id, sql), fix in sorted(fixes.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        review = source.tasks[question_id].review(sql, fix.response)
        found.append(LabelledReview(review, (), fix.correct, source.golds[question_id]))
    return found


def _plan_inputs(workspace: Workspace) -> dict[str, Artifact]:
    return {
        "questions": prepare(workspace).outputs["questions"],
        "plans": rollout_plans(workspace).outputs["plans"],
    }
