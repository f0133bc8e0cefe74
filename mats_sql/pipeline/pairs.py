"""`pairs`: join better and worse answers of a pool to preference pairs: validators, fixer, planner."""

from __future__ import annotations

from collections.abc import Sequence

from mats_sql.agents.critique import Validator
from mats_sql.agents.names import FIXER, PLANNER
from mats_sql.choices import Regime
from mats_sql.parquet import write_records
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference.pair import PreferencePair
from mats_sql.preference.pairing import fixer_pairs, hold_out, planner_pairs, validator_pairs
from mats_sql.rollout.pool import Pool, read_pool
from mats_sql.seeds import derive_random
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("pairs", 1)


def pairs_of_pool(workspace: Workspace, pool: Artifact, regime: Regime) -> StageResult:
    """Return both validators' pairs under one regime: `select`, `condition` and their `…_evaluation` parts."""
    experiment = workspace.experiment
    questions = prepare(workspace).outputs["questions"]
    return workspace.run(
        KEY,
        title=f"pairs {regime.value}",
        settings={
            "regime": regime.value,
            "pairs": experiment.pairs,
            "gate": experiment.policy.gate.value,
            "benchmark": experiment.benchmark.prompt_settings(),
            "seed": experiment.seed,
        },
        inputs={"pool": pool, "questions": questions},
        compute=lambda run: _pair_critiques(workspace, run, pool, questions, regime),
        tags={"regime": regime.value},
    )


def fixer_pairs_of_pool(workspace: Workspace, pool: Artifact) -> StageResult:
    """Return the fixer's pairs: `fixer` and `fixer_evaluation`."""
    questions = prepare(workspace).outputs["questions"]
    return workspace.run(
        KEY,
        title=f"pairs fixer, {workspace.experiment.pairs.fixer}",
        settings=_settings(workspace, FIXER),
        inputs={"pool": pool, "questions": questions},
        compute=lambda run: _pair_fixes(workspace, run, pool, questions),
        tags={"agent": FIXER},
    )


def planner_pairs_of_plans(workspace: Workspace, plans: Artifact) -> StageResult:
    """Return the planner's pairs, a correct against a wrong plan: `planner` and `planner_evaluation`."""
    questions = prepare(workspace).outputs["questions"]
    return workspace.run(
        KEY,
        title="pairs planner",
        settings=_settings(workspace, PLANNER),
        inputs={"plans": plans, "questions": questions},
        compute=lambda run: _pair_plans(workspace, run, plans, questions),
        tags={"agent": PLANNER},
    )


def _settings(workspace: Workspace, agent: str) -> dict[str, object]:
    experiment = workspace.experiment
    return {
        "agent": agent,
        "pairs": experiment.pairs,
        "benchmark": experiment.benchmark.prompt_settings(),
        "seed": experiment.seed,
    }


def _pair_critiques(workspace: Workspace, run: StageRun, pool: Artifact, questions: Artifact, regime: Regime) -> None:
    experiment = workspace.experiment
    tasks = train_source(experiment, questions, experiment.rollout.questions).tasks
    for validator in Validator:
        built = validator_pairs(
            _prefix(workspace, pool),
            tasks,
            validator=validator,
            regime=regime,
            policy=experiment.policy,
            max_pairs_per_prompt=experiment.pairs.max_pairs_per_prompt,
        )
        _publish(workspace, run, validator.value, built, len(tasks))


def _pair_fixes(workspace: Workspace, run: StageRun, pool: Artifact, questions: Artifact) -> None:
    experiment = workspace.experiment
    settings = experiment.pairs
    tasks = train_source(experiment, questions, experiment.rollout.questions).tasks
    built = fixer_pairs(
        _prefix(workspace, pool),
        tasks,
        joint=settings.fixer == "joint",
        max_pairs_per_prompt=settings.max_pairs_per_prompt,
    )
    _publish(workspace, run, FIXER, built, len(tasks))


def _pair_plans(workspace: Workspace, run: StageRun, plans: Artifact, questions: Artifact) -> None:
    tasks = train_source(workspace.experiment, questions).tasks
    built = planner_pairs(
        _prefix(workspace, plans), tasks, max_pairs_per_prompt=workspace.experiment.pairs.max_pairs_per_prompt
    )
    _publish(workspace, run, PLANNER, built, len(tasks))


def _prefix(workspace: Workspace, pool: Artifact) -> Pool:
    whole = read_pool(pool.path)
    k = workspace.experiment.pairs.k
    return whole if k is None else whole.prefix(k)


def _publish(workspace: Workspace, run: StageRun, name: str, built: Sequence[PreferencePair], questions: int) -> None:
    """Write the training and the held-out pairs, parted by question, and count them."""
    experiment = workspace.experiment
    train, evaluation = hold_out(
        built,
        experiment.pairs.evaluation_share,
        lambda question_id: derive_random(experiment.seed, "hold-out", question_id).random(),
    )
    for part, kept in ((name, train), (f"{name}_evaluation", evaluation)):
        path = run.work / f"{part}.parquet"
        write_records(kept, PreferencePair, path)
        run.output(part, ArtifactKind.DATASET, path)
    run.log_metrics(
        {
            f"{name}/pairs": len(built),
            f"{name}/pairs_per_question": len(built) / max(1, questions),
            f"{name}/prompts_with_pairs": len({pair.chosen_prompt for pair in built}),
        }
    )
