"""The chain fixer → pool → pairs → validators, for each fixer and each iteration of it.

Iteration 1 has the SFT fixer. In each later one the fixer before it is trained with ORPO on the pool before it, the
pool is drawn again with the new fixer, and the validators are trained again, from their SFT checkpoints, on that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from mats_sql.agents.critique import Validator
from mats_sql.agents.names import FIXER, validator_name
from mats_sql.choices import FixerCritique, Regime
from mats_sql.config import Experiment
from mats_sql.pipeline.orpo import PreferenceCourse, prefer
from mats_sql.pipeline.pairs import fixer_pairs_of_pool, pairs_of_pool
from mats_sql.pipeline.rollout import draw_pool
from mats_sql.pipeline.sft import sft_fixer, sft_selector, sft_validator
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.artifact import Artifact
from mats_sql.tracking.stage import StageResult


@dataclass(frozen=True, slots=True)
class Line:
    """One line of descent: a fixer's critique mode and the iteration."""

    critique: FixerCritique
    iteration: int = 1

    @property
    def label(self) -> str:
        """The line's name in run names and tables."""
        return f"{self.critique.value} fixer" + (f", iteration {self.iteration}" if self.iteration > 1 else "")

    def tags(self) -> dict[str, str]:
        """Return what tells this line from others, as run and version tags."""
        return {"fixer_critique": self.critique.value, "iteration": str(self.iteration)}


def lines(experiment: Experiment) -> Iterator[Line]:
    """Yield every line of an experiment: each fixer in each iteration."""
    for mode, iteration in product(experiment.fixers, range(1, experiment.iterations + 1)):
        yield Line(mode, iteration)


def fixer_of(workspace: Workspace, line: Line) -> Artifact:
    """Return the line's fixer."""
    if line.iteration == 1:
        return sft_fixer(workspace, line.critique).outputs["model"]
    before = Line(line.critique, line.iteration - 1)
    built = fixer_pairs_of_pool(workspace, pool_of(workspace, before)).outputs
    course = PreferenceCourse(
        FIXER,
        fixer_of(workspace, before),
        built["fixer"],
        built["fixer_evaluation"],
        workspace.experiment.pairs.fixer,
        seed=0,
        tags=line.tags(),
    )
    return prefer(workspace, course).outputs["model"]


def pool_of(workspace: Workspace, line: Line) -> Artifact:
    """Return the pool that the line's fixer and the SFT validators draw."""
    validators = {validator: sft_validator(workspace, validator).outputs["model"] for validator in Validator}
    return draw_pool(workspace, validators, fixer_of(workspace, line), label=line.label).outputs["pool"]


def selector_of(workspace: Workspace, line: Line) -> Artifact:
    """Return the selector trained on the line's pool."""
    return sft_selector(workspace, pool_of(workspace, line)).outputs["model"]


def pairs(workspace: Workspace, regime: Regime, line: Line) -> StageResult:
    """Return both validators' pairs under a regime."""
    return pairs_of_pool(workspace, pool_of(workspace, line), regime)


def orpo(workspace: Workspace, validator: Validator, regime: Regime, line: Line, seed: int) -> StageResult:
    """Return a validator (`model`) trained under a regime."""
    built = pairs(workspace, regime, line).outputs
    course = PreferenceCourse(
        validator_name(validator),
        sft_validator(workspace, validator).outputs["model"],
        built[validator.value],
        built[f"{validator.value}_evaluation"],
        regime.value,
        seed,
        tags=line.tags(),
    )
    return prefer(workspace, course)


def orpo_all(workspace: Workspace, regimes: Iterable[Regime]) -> None:
    """Train both validators under each regime, for every line and seed of the experiment."""
    experiment = workspace.experiment
    for line, regime, seed, validator in product(lines(experiment), regimes, experiment.seeds, Validator):
        orpo(workspace, validator, regime, line, seed)
