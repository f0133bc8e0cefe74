"""`orpo`: train one validator on one regime's pairs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from mats_sql.agents.critique import Validator
from mats_sql.config import FixerCritique, OrpoSettings, Regime
from mats_sql.preference.table import read_pairs
from mats_sql.seeds import derive_seed
from mats_sql.stages.pairs import pairs
from mats_sql.stages.sft import sft_validator
from mats_sql.stages.training_run import log_steps
from mats_sql.stages.workspace import Workspace
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("orpo", 1)


def orpo(workspace: Workspace, validator: Validator, regime: Regime, mode: FixerCritique, seed: int) -> StageResult:
    """Return a validator (`model`) trained under a regime; `seed` numbers the replicate."""
    base = sft_validator(workspace, validator).outputs["model"]
    return orpo_from(workspace, base, pairs(workspace, regime, mode), validator, regime, seed)


def orpo_from(
    workspace: Workspace,
    base: Artifact,
    built: StageResult,
    validator: Validator,
    regime: Regime,
    seed: int,
) -> StageResult:
    """Return ``base`` after ORPO on one validator's part of ``built``."""
    settings = workspace.experiment.orpo
    # the same for every regime: data alone tell two regimes apart
    training_seed = derive_seed(workspace.experiment.seed, "orpo", validator.value, seed)
    inputs = {"pairs": built.outputs[validator.value], "evaluation": built.outputs[f"{validator.value}_evaluation"]}
    agent = f"{validator.value}-validator"
    return workspace.run(
        KEY,
        title=f"orpo {agent} {regime.value}, seed {seed}",
        settings={"agent": agent, "orpo": settings, "seed": training_seed, "regime": regime.value},
        inputs={"base": base, **inputs},
        compute=lambda run: _compute(run, base, inputs, settings, training_seed, agent),
        tags={
            "agent": agent,
            "regime": regime.value,
            "seed": str(seed),
            "beta": str(settings.beta),
            "learning_rate": str(settings.learning_rate),
            "k": str(workspace.experiment.pairs.k or workspace.experiment.rollout.critiques),
        },
    )


def _compute(
    run: StageRun, base: Artifact, inputs: dict[str, Artifact], settings: OrpoSettings, seed: int, agent: str
) -> None:
    from mats_sql.training.orpo import train_orpo

    report = train_orpo(
        read_pairs(inputs["pairs"].path),
        read_pairs(inputs["evaluation"].path),
        base=base.path,
        out=run.work / "model",
        settings=settings,
        seed=seed,
        on_metrics=log_steps(run),
        checkpoints=run.work / "checkpoints",
    )
    run.log_metrics({"dropped": len(report.dropped), **report.metrics})
    run.output("model", ArtifactKind.MODEL, run.work / "model", {"agent": agent})


def orpo_all(workspace: Workspace, regimes: Iterable[Regime]) -> None:
    """Train both validators under each regime, for every fixer and seed of the experiment."""
    experiment = workspace.experiment
    for mode, regime, seed, validator in product(experiment.fixers, regimes, experiment.seeds, Validator):
        orpo(workspace, validator, regime, mode, seed)
