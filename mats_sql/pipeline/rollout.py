"""`rollout`: draw what models write about the train questions, judge it, and keep it as a pool.

Stages of their own, since agents in between learn from what was drawn: *plans* of every train question; the *pool*,
which adds critiques and fixes for a part of them; and the selector's *scores* of the pool, where labels need them.
Everything is drawn once, with the largest K; a smaller K is a prefix.

Reads the questions table and the models that write. Draws, executes and judges. Writes ``plans``, ``pool``
or ``scores``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from mats_sql.agents import FIXER, PLANNER, PROMPT_VERSIONS, SELECTOR, Validator, validator_name
from mats_sql.generation import Engine
from mats_sql.parquet import write_records
from mats_sql.pipeline.ahead import Part, draw_ahead
from mats_sql.pipeline.questions import TRAIN, read_split, train_folds, train_source
from mats_sql.pipeline.shown import log_previews
from mats_sql.pipeline.workspace import Workspace
from mats_sql.rollout import (
    CritiqueRow,
    FixRow,
    PlanRow,
    Pool,
    Sampler,
    ScoreRow,
    Source,
    read_pool,
    reviews_of,
    score_pool,
    with_right_content,
    write_pool,
)
from mats_sql.seeds import replicate_seed
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

PLANS_KEY = StageKey("rollout-plans", 1)
POOL_KEY = StageKey("rollout-pool", 2)
SCORES_KEY = StageKey("rollout-scores", 2)


@dataclass(frozen=True, slots=True)
class PoolOrigin:
    """What a pool is drawn from: judged plans, and the models that criticise and fix them."""

    plans: Artifact
    validators: Mapping[Validator, Artifact]
    fixer: Artifact

    def inputs(self) -> dict[str, Artifact]:
        """Return all of it, by role."""
        models = {f"{validator.value}_validator": model for validator, model in self.validators.items()}
        return {"plans": self.plans, **models, "fixer": self.fixer}


def rollout_plans(
    workspace: Workspace, questions: Artifact, planners: Sequence[Artifact], *, seed: int = 0
) -> StageResult:
    """Return the judged plans of every train question (`plans`); ``seed`` numbers the replicate, here and below.

    ``planners`` is the team's own planner, or one per fold that never saw the fold's questions (``rollout.folds``).
    """
    experiment = workspace.experiment

    def compute(run: StageRun) -> None:
        started, source = time.monotonic(), train_source(experiment, questions)
        draw_ahead(
            workspace, partial(_part_of_plans, questions=questions, planners=planners, seed=seed), len(source.tasks)
        )
        plans = _drawn_plans(workspace, source, source.tasks, planners, seed)
        _publish(run, Pool(tuple(plans)), "plans", time.monotonic() - started)

    return workspace.run(
        PLANS_KEY,
        title=f"rollout {experiment.rollout.plans} plans per train question" + _told(seed),
        settings=rollout_settings(workspace, seed),
        inputs={"questions": questions, **_by_fold(planners)},
        compute=compute,
        tags={"seed": str(seed)},
    )


def rollout_pool(
    workspace: Workspace, questions: Artifact, origin: PoolOrigin, *, label: str, seed: int = 0
) -> StageResult:
    """Return the pool (`pool`) of a part of the train questions for any validators and fixer."""
    experiment = workspace.experiment

    def compute(run: StageRun) -> None:
        started, source = time.monotonic(), train_source(experiment, questions, experiment.rollout.questions)
        draw_ahead(workspace, partial(_part_of_pool, questions=questions, origin=origin, seed=seed), len(source.tasks))
        pool = _drawn_pool(workspace, source, origin, seed)
        _publish(run, pool, "pool", time.monotonic() - started)

    return workspace.run(
        POOL_KEY,
        title=f"rollout pool, {label}" + _told(seed),
        settings={**rollout_settings(workspace, seed), "questions": experiment.rollout.questions},
        inputs={"questions": questions, **origin.inputs()},
        compute=compute,
        tags={"fixer": label, "seed": str(seed)},
    )


def rollout_scores(workspace: Workspace, questions: Artifact, pool: Artifact, selector: Artifact) -> StageResult:
    """Return the selector's scores (`scores`) of the candidates that a team would let it choose among."""
    experiment = workspace.experiment

    def compute(run: StageRun) -> None:
        tasks = train_source(experiment, questions, experiment.rollout.questions).tasks
        with workspace.engine(SELECTOR, selector.path) as engine:
            rows = score_pool(read_pool(pool.path), tasks, experiment.policy, engine)
        path = run.work / "scores.parquet"
        write_records(rows, ScoreRow, path)
        run.output("scores", ArtifactKind.DATASET, path)
        run.log_metrics({"scores": len(rows)})

    return workspace.run(
        SCORES_KEY,
        title="rollout scores of the pool",
        settings={**rollout_settings(workspace), "policy": experiment.policy},
        inputs={"questions": questions, "pool": pool, "selector": selector},
        compute=compute,
    )


def rollout_settings(workspace: Workspace, seed: int = 0) -> dict[str, object]:
    """Return the settings that decide what is drawn in a replicate."""
    experiment = workspace.experiment
    return {
        "rollout": experiment.rollout.model_dump(mode="json", exclude={"questions"}),
        "generation": experiment.generation.answer_settings(),
        "benchmark": experiment.benchmark.prompt_settings(),
        "prompts": PROMPT_VERSIONS,
        "limits": experiment.sql.limits,
        "seed": replicate_seed(experiment.seed, seed),
    }


def sampler(workspace: Workspace, seed: int = 0) -> Sampler:
    """Return the sampler of a replicate."""
    experiment = workspace.experiment
    root = replicate_seed(experiment.seed, seed)
    return Sampler(experiment.rollout, experiment.generation, workspace.judge(), root)


def _told(seed: int) -> str:
    return f", seed {seed}" if seed else ""


def _by_fold(planners: Sequence[Artifact]) -> dict[str, Artifact]:
    if len(planners) == 1:
        return {"planner": planners[0]}
    return {f"planner_without_fold_{number}": planner for number, planner in enumerate(planners, start=1)}


def _part_of_plans(
    workspace: Workspace, part: Part, questions: Artifact, planners: Sequence[Artifact], seed: int
) -> None:
    source = train_source(workspace.experiment, questions)
    _drawn_plans(workspace, source, part.among(source.tasks), planners, seed)


def _drawn_plans(
    workspace: Workspace, source: Source, asked: Collection[int], planners: Sequence[Artifact], seed: int
) -> list[PlanRow]:
    """Return the plans of the questions ``asked``, each of the planner that its fold of all questions has."""
    draw, plans = sampler(workspace, seed), []
    with _opened(workspace, [(PLANNER, planner) for planner in planners]) as engines:
        for engine, fold in zip(engines, train_folds(workspace.experiment, source), strict=True):
            plans += draw.plans(source.part(fold).part(asked), engine)
    return sorted(plans, key=lambda row: (row.question_id, row.sample_index))


def _part_of_pool(workspace: Workspace, part: Part, questions: Artifact, origin: PoolOrigin, seed: int) -> None:
    source = train_source(workspace.experiment, questions, workspace.experiment.rollout.questions)
    _drawn_pool(workspace, source.part(part.among(source.tasks)), origin, seed)


def _drawn_pool(workspace: Workspace, source: Source, origin: PoolOrigin, seed: int) -> Pool:
    rows = tuple(row for row in read_pool(origin.plans.path).plans if row.question_id in source.tasks)
    reviews, draw = reviews_of(source, rows), sampler(workspace, seed)
    critiques: list[CritiqueRow] = []
    agents = [(validator_name(validator), model) for validator, model in origin.validators.items()]
    with _opened(workspace, [*agents, (FIXER, origin.fixer)]) as (*validators, fixer):
        for validator, engine in zip(origin.validators, validators, strict=True):
            critiques += draw.critiques(reviews, validator, engine)
        schemas = read_split(workspace.experiment, TRAIN).schemas
        critiques = with_right_content(critiques, rows, source.golds, schemas)
        fixes = draw.fixes(source, reviews, critiques, fixer)
    return Pool(rows, tuple(critiques), tuple(fixes))


@contextmanager
def _opened(workspace: Workspace, agents: Sequence[tuple[str, Artifact]]) -> Iterator[list[Engine]]:
    """Open the engines of all agents that a stage asks, one after the other, so that those of one base may share it."""
    with ExitStack() as resources:
        yield [resources.enter_context(workspace.engine(name, model.path)) for name, model in agents]


def _publish(run: StageRun, pool: Pool, name: str, elapsed_s: float) -> None:
    """Write a pool as the run's output, and its sizes, outcomes and cost as metrics."""
    folder = run.work / name
    write_pool(pool, folder)
    run.output(name, ArtifactKind.DATASET, folder)
    log_previews(run, folder)
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


def _verdict_shares(name: str, rows: Sequence[PlanRow] | Sequence[FixRow]) -> dict[str, float]:
    counts = Counter(row.verdict.value for row in rows)
    return {f"{name}_{verdict}": count / len(rows) for verdict, count in counts.items()}
