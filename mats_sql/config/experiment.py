"""The whole experiment, and the rules that bind one part of it to another."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from mats_sql.choices import FixerCritique, Regime
from mats_sql.config.execution import SqlSettings
from mats_sql.config.generation import GenerationSettings, ModelSettings, TeacherSettings
from mats_sql.config.preference import PairSettings, Policy, PromoteSettings, RolloutSettings, SearchSettings
from mats_sql.config.questions import BenchmarkSettings, LabSettings, PretrainSettings
from mats_sql.config.section import Section
from mats_sql.config.training import OrpoSettings, SftAgents


class Experiment(Section):
    """Everything that decides the result of an experiment."""

    name: str = Field(
        "mats-sql",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the MLflow experiment, and what its registered models begin with.",
    )
    seed: int = Field(0, description="Every random choice derives from it.")
    seeds: tuple[int, ...] = Field(
        (0,), min_length=1, description="Seeds of preference training: one team each, and the table has their spread."
    )
    iterations: int = Field(
        1,
        ge=1,
        le=5,
        description="How often fixer and pool follow one another: each time the fixer learns from the last pool.",
    )
    work_dir: Path = Field(Path("mats-runs"), description="Folder for what stages keep between runs.")
    benchmark: BenchmarkSettings = Field(BenchmarkSettings(), description="Where questions come from.")
    lab: LabSettings = Field(LabSettings(), description="The generated benchmark.")
    pretrain: PretrainSettings = Field(PretrainSettings(), description="How the lab's base model is made.")
    models: ModelSettings = Field(ModelSettings(), description="The checkpoint each agent starts from.")
    sql: SqlSettings = Field(SqlSettings(), description="How SQL is executed and judged.")
    generation: GenerationSettings = Field(GenerationSettings(), description="Which engine draws text.")
    teacher: TeacherSettings = Field(TeacherSettings(), description="Who writes the answers that SFT teaches.")
    sft: SftAgents = Field(SftAgents(), description="Supervised fine-tuning, agent by agent.")
    fixers: tuple[FixerCritique, ...] = Field(
        (FixerCritique.AWARE,),
        min_length=1,
        description="What the fixer's SFT examples carry as feedback: one identical critique, or each its own. "
        "Several: the whole chain for each.",
    )
    rollout: RolloutSettings = Field(RolloutSettings(), description="How a training pool is drawn.")
    pairs: PairSettings = Field(PairSettings(), description="How a pool becomes preference pairs.")
    orpo: OrpoSettings = Field(OrpoSettings(), description="Preference training.")
    regimes: tuple[Regime, ...] = Field(
        (Regime.INDEP, Regime.COLLAB, Regime.COLLAB_V2),
        description="Rules that label critiques, a team each; all label the same pool.",
    )
    policy: Policy = Field(Policy(), description="The inference flow of a team.")
    search: SearchSettings = Field(SearchSettings(), description="The Optuna study.")
    promote: PromoteSettings = Field(PromoteSettings(), description="Gates before a team becomes champion.")

    @model_validator(mode="after")
    def _no_prefix_is_longer_than_the_pool(self) -> Experiment:
        drawn = min(self.rollout.plans, self.rollout.critiques)
        for key, value in (("pairs.k", self.pairs.k or 0), ("search.k", max(self.search.k, default=0))):
            if value > drawn:
                raise ValueError(
                    f"{key} must be at most min(rollout.plans, rollout.critiques), the pool's size, but got {value} "
                    f"and min({self.rollout.plans}, {self.rollout.critiques}); lower {key} or draw more"
                )
        return self

    def regimes_named(self, name: str) -> tuple[Regime, ...]:
        """Return the regime of that name, or every regime of the experiment for ``all``."""
        return self.regimes if name == "all" else (Regime(name),)
