"""The whole experiment, and the rules that bind one part of it to another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mats_sql.choices import FixerCritique, Regime, SeedsVary
from mats_sql.config.execution import SqlSettings
from mats_sql.config.generation import GenerationSettings, ModelSettings, TeacherSettings, UntrainedSettings
from mats_sql.config.preference import (
    MainSettings,
    PairSettings,
    Policy,
    PromoteSettings,
    RolloutSettings,
    SearchSettings,
    TunedSettings,
)
from mats_sql.config.protocol import ProtocolSettings
from mats_sql.config.questions import BenchmarkSettings, LabSettings, PretrainSettings
from mats_sql.config.regimes import RegimeName, known_regime, regime_label
from mats_sql.config.section import Positive, Section
from mats_sql.config.teams import TeamMembers, check_teams
from mats_sql.config.traces import TraceSettings
from mats_sql.config.training import OrpoSettings, SftAgents, TrainingSettings


class Experiment(Section):
    """Everything that decides the result of an experiment."""

    name: str = Field(
        "mats-sql",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the MLflow experiment, and what its registered models begin with.",
    )
    seed: int = Field(0, description="Every random choice derives from it.")
    seeds: tuple[int, ...] = Field(
        (0,), min_length=1, description="Numbers of seeds: one team each, and a table of their spread."
    )
    seeds_vary: SeedsVary = Field(
        SeedsVary.ORPO,
        description="What a seed varies: preference training; also the pool that its pairs come from; or all, SFT "
        "agents too (docs/statistics.md).",
    )
    iterations: int = Field(
        1,
        ge=1,
        le=5,
        description="How often fixer and pool follow one another: each time the fixer learns from the last pool.",
    )
    work_dir: Path = Field(Path("mats-runs"), description="Folder for what stages keep between runs.")
    processes: Positive | None = Field(
        None,
        description="Processes in which main trains and evaluates side by side what does not need one another, and in "
        "which a stage of 200 questions or more draws its parts; null: one per core, but one alone where there is a "
        "GPU or with `cluster`. They change how long it takes, and of trained weights the last bits, as another number "
        "of cores does.",
    )
    cluster: Literal["ray"] | None = Field(
        None,
        description="Where answers are drawn and scored and SQL is executed: `ray`: on all nodes of a Ray cluster "
        "(docs/scale.md); null: on this machine. It changes how long it takes.",
    )
    benchmark: BenchmarkSettings = Field(BenchmarkSettings(), description="Where questions come from.")
    lab: LabSettings = Field(LabSettings(), description="The generated benchmark.")
    pretrain: PretrainSettings = Field(PretrainSettings(), description="How the lab's base model is made.")
    models: ModelSettings = Field(ModelSettings(), description="The checkpoint each agent starts from.")
    untrained: UntrainedSettings = Field(
        UntrainedSettings(), description="The checkpoint with random weights that `models` may name."
    )
    sql: SqlSettings = Field(SqlSettings(), description="How SQL is executed and judged.")
    generation: GenerationSettings = Field(GenerationSettings(), description="Which engine draws text.")
    teacher: TeacherSettings = Field(TeacherSettings(), description="Who writes the answers that SFT teaches.")
    training: TrainingSettings = Field(TrainingSettings(), description="Where trainings run.")
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
    regimes: tuple[RegimeName, ...] = Field(
        (Regime.INDEP.value, Regime.COLLAB.value, Regime.COLLAB_V2.value),
        description="Rules that label critiques, a team each; all label the same pool. A name, or "
        "package.module:function for a rule of one's own (docs/training.md).",
    )
    controls: bool = Field(
        True,
        description="Whether every regime is also compared with INDEP on balanced verdicts and with INDEP matched to "
        "it in number and verdict mix: one team more, and one more per regime.",
    )
    selectors: Literal["line", "own"] = Field(
        "line",
        description="Which selector the teams of regimes and controls have: their line's, which learned from what the "
        "SFT validators write, or each its own, which learned from what its validators and fixer write (the SFT team's "
        "is its own either way).",
    )
    teams: Mapping[str, TeamMembers] = Field(
        {}, description="Further teams by name, a row of every table each (docs/training.md)."
    )
    tuned: Mapping[str, TunedSettings] = Field(
        {},
        description="Settings of a regime's own, by its name (of a rule of one's own: the function's). A regime that "
        "is not here has in main and report those of its best-of-search-REGIME, where a search left one, and else the "
        "experiment's; `{}` here keeps the experiment's.",
    )
    policy: Policy = Field(Policy(), description="The inference flow of a team.")
    protocol: ProtocolSettings = Field(ProtocolSettings(), description="What counts as a result.")
    search: SearchSettings = Field(SearchSettings(), description="The Optuna study.")
    main: MainSettings = Field(MainSettings(), description="What main does besides: search before, promote after.")
    promote: PromoteSettings = Field(PromoteSettings(), description="Gates before a team becomes champion.")
    system_metrics_s: float = Field(
        10.0, ge=0, description="Seconds between two samples of the machine's load while a model is trained; 0: none."
    )
    traces: TraceSettings = Field(TraceSettings(), description="What MLflow shows turn by turn (docs/tracking.md).")

    @model_validator(mode="after")
    def _no_prefix_is_longer_than_the_pool(self) -> Experiment:
        drawn = min(self.rollout.plans, self.rollout.critiques)
        tuned = ((f"tuned.{label}.k", own.k or 0) for label, own in self.tuned.items())
        for key, value in (("pairs.k", self.pairs.k or 0), ("search.k", max(self.search.k, default=0)), *tuned):
            if value > drawn:
                raise ValueError(
                    f"{key} must be at most min(rollout.plans, rollout.critiques), the pool's size, but got {value} "
                    f"and min({self.rollout.plans}, {self.rollout.critiques}); lower {key} or draw more"
                )
        return self

    @model_validator(mode="after")
    def _processes_share_steps_evenly(self) -> Experiment:
        trained = {f"sft.{agent}": getattr(self.sft, agent) for agent in type(self.sft).model_fields}
        for name, settings in {**trained, "orpo": self.orpo}.items():
            step = settings.batch_size * settings.gradient_accumulation
            if step % self.training.processes:
                raise ValueError(
                    f"training.processes must divide {name}'s step, batch_size x gradient_accumulation, but got "
                    f"{self.training.processes} and {settings.batch_size} x {settings.gradient_accumulation}; "
                    "change one"
                )
            if self.training.shard and settings.lora.rank:
                raise ValueError(
                    f"training.shard is for full weights, but {name}.lora.rank is {settings.lora.rank}; "
                    "set one of them alone"
                )
        return self

    @model_validator(mode="after")
    def _every_regime_has_its_own_label(self) -> Experiment:
        labels = [regime_label(regime) for regime in self.regimes]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise ValueError(f"regimes must differ in their names, but {twice} is there twice; rename one")
        return self

    @model_validator(mode="after")
    def _tuned_are_regimes(self) -> Experiment:
        labels = [regime_label(regime) for regime in self.regimes]
        odd = next((label for label in self.tuned if label not in labels), None)
        if odd is not None:
            raise ValueError(f"tuned must name regimes of the experiment ({', '.join(labels)}), but got {odd}; mend it")
        return self

    @model_validator(mode="after")
    def _teams_have_free_names_and_known_agents(self) -> Experiment:
        check_teams(self.teams, self.regimes)
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> Experiment:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ from one another, but got {list(self.seeds)}; leave out the repeated")
        return self

    def tuned_to(self, regime: str) -> Experiment:
        """Return the experiment with a regime's own settings (`tuned`) in `orpo` and `pairs`; itself without such."""
        own = self.tuned.get(regime_label(regime))
        if own is None:
            return self
        told = own.model_dump(exclude_none=True)
        pairs = {name: told.pop(name) for name in ("k",) if name in told}
        return self.model_copy(
            update={"orpo": self.orpo.model_copy(update=told), "pairs": self.pairs.model_copy(update=pairs)}
        )

    def regimes_named(self, name: str) -> tuple[str, ...]:
        """Return the regimes of those names, parted by commas, or every regime of the experiment for ``all``.

        Raises :class:`ConfigError` for a name that is no regime.
        """
        return self.regimes if name == "all" else tuple(dict.fromkeys(map(known_regime, name.split(","))))
