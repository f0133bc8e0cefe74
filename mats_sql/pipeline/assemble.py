"""`assemble`: put the agents of a team and its policy into one folder.

Reads the model of each agent. Writes the ``team``, which becomes one MLflow model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mats_sql.agents import FIXER, PLANNER, SELECTOR, Validator, validator_name
from mats_sql.choices import FixerCritique
from mats_sql.config import Experiment
from mats_sql.pipeline.shown import run_title
from mats_sql.pipeline.workspace import Workspace
from mats_sql.team import TeamSettings, write_team
from mats_sql.tracking import Artifact, ArtifactKind, StageKey, StageResult, StageRun

KEY = StageKey("assemble", 1)


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


@dataclass(frozen=True, slots=True)
class TeamModels:
    """The model version of each agent of one team; without validators and fixer it is the planner with a selector.

    ``seed`` tells it from teams that are made the same otherwise; None when there are no others. ``preference`` says
    how its preference-trained agents were trained, as tags.
    """

    name: str
    planner: Artifact
    selector: Artifact | None
    validators: Mapping[Validator, Artifact]
    fixer: Artifact | None
    regime: str = ""
    line: Line | None = None
    seed: int | None = None
    preference: Mapping[str, str] = field(default_factory=dict)

    def agents(self) -> dict[str, Artifact]:
        """Return the models by agent name."""
        validators = {validator_name(validator): model for validator, model in self.validators.items()}
        named = {PLANNER: self.planner, SELECTOR: self.selector, **validators, FIXER: self.fixer}
        return {name: model for name, model in named.items() if model is not None}

    @property
    def label(self) -> str:
        """The team's name in tables and run names, with its fixer and seed where it has them."""
        return self.family if self.seed is None else f"{self.family}, seed {self.seed}"

    @property
    def family(self) -> str:
        """What teams that differ in their training seed alone have in common."""
        return self.name if self.line is None else f"{self.name}, {self.line.label}"

    def tags(self) -> dict[str, str]:
        """Return what tells this team from others, as run and version tags."""
        return {
            "team": self.name,
            "regime": self.regime,
            **({} if self.seed is None else {"seed": str(self.seed)}),
            **(self.line.tags() if self.line else {}),
            **self.preference,
        }


def team_settings(experiment: Experiment) -> TeamSettings:
    """Return what an experiment's teams have beside their agents: policy, generation, execution."""
    return TeamSettings(
        policy=experiment.policy,
        generation=experiment.generation,
        sql=experiment.sql,
        schema_style=experiment.benchmark.prompt_settings(),
        seed=experiment.seed,
    )


def assemble(workspace: Workspace, team: TeamModels) -> StageResult:
    """Return the team (`team`): its checkpoints and its policy."""
    settings = team_settings(workspace.experiment)

    def compute(run: StageRun) -> None:
        folder = run.work / "team"
        write_team(folder, {name: model.path for name, model in team.agents().items()}, settings)
        run.output("team", ArtifactKind.TEAM, folder, team.tags())

    return workspace.run(
        KEY,
        title=run_title(team.label, "assemble"),
        settings={"team": settings.lasting(), "name": team.label},
        inputs=team.agents(),
        compute=compute,
        tags=team.tags(),
    )
