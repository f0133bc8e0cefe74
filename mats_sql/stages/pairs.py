"""`pairs`: label a pool under a regime and join chosen and rejected critiques to preference pairs."""

from __future__ import annotations

from collections.abc import Sequence

from mats_sql.agents.critique import Validator
from mats_sql.config import FixerCritique, Regime
from mats_sql.preference.pair import PreferencePair
from mats_sql.preference.pairing import hold_out, validator_pairs
from mats_sql.preference.table import write_pairs
from mats_sql.rollout.pool import read_pool
from mats_sql.seeds import derive_random
from mats_sql.stages.prepare import prepare
from mats_sql.stages.questions import train_source
from mats_sql.stages.rollout import rollout_pool
from mats_sql.stages.workspace import Workspace
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("pairs", 1)


def pairs(workspace: Workspace, regime: Regime, mode: FixerCritique) -> StageResult:
    """Return the pairs of both validators under one regime: `select`, `condition` and their `…_evaluation` parts."""
    return pairs_of_pool(workspace, rollout_pool(workspace, mode).outputs["pool"], regime)


def pairs_of_pool(workspace: Workspace, pool: Artifact, regime: Regime) -> StageResult:
    """Return one regime's pairs of any pool, parted by question into training and evaluation."""
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
        compute=lambda run: _compute(workspace, run, pool, questions, regime),
        tags={"regime": regime.value},
    )


def _compute(workspace: Workspace, run: StageRun, pool_artifact: Artifact, questions: Artifact, regime: Regime) -> None:
    experiment = workspace.experiment
    settings = experiment.pairs
    pool = read_pool(pool_artifact.path)
    if settings.k is not None:
        pool = pool.prefix(settings.k)
    tasks = train_source(experiment, questions, experiment.rollout.questions).tasks
    for validator in Validator:
        built = validator_pairs(
            pool,
            tasks,
            validator=validator,
            regime=regime,
            gate=experiment.policy.gate,
            max_pairs_per_prompt=settings.max_pairs_per_prompt,
        )
        train, evaluation = hold_out(
            built,
            settings.evaluation_share,
            lambda question_id: derive_random(experiment.seed, "hold-out", question_id).random(),
        )
        _publish(run, validator.value, train)
        _publish(run, f"{validator.value}_evaluation", evaluation)
        run.log_metrics(
            {
                f"{validator.value}/pairs": len(built),
                f"{validator.value}/pairs_per_question": len(built) / max(1, len(tasks)),
                f"{validator.value}/prompts_with_pairs": len({pair.chosen_prompt for pair in built}),
            }
        )


def _publish(run: StageRun, name: str, built: Sequence[PreferencePair]) -> None:
    path = run.work / f"{name}.parquet"
    write_pairs(built, path)
    run.output(name, ArtifactKind.DATASET, path)
