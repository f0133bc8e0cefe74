"""The teams of an experiment: which model versions each one is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mats_sql.agents.critique import Validator
from mats_sql.agents.names import FIXER, PLANNER, SELECTOR, validator_name
from mats_sql.choices import Regime
from mats_sql.errors import ConfigError
from mats_sql.pipeline.iterations import Line, fixer_of, lines, orpo, selector_of
from mats_sql.pipeline.sft import sft_fixer, sft_validator
from mats_sql.pipeline.sft_planner import sft_planner
from mats_sql.pipeline.workspace import Workspace
from mats_sql.team.folder import TeamSettings, write_team
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun

KEY = StageKey("assemble", 1)
PLANNER_ONLY, SFT_TEAM = "PLANNER-only", "SFT-VF"


@dataclass(frozen=True, slots=True)
class TeamModels:
    """The model version of each agent of one team; without validators and fixer it is the planner with a selector."""

    name: str
    planner: Artifact
    selector: Artifact
    validators: Mapping[Validator, Artifact]
    fixer: Artifact | None
    regime: str = ""
    line: Line | None = None
    seed: int = 0

    def agents(self) -> dict[str, Artifact]:
        """Return the models by agent name."""
        found = {PLANNER: self.planner, SELECTOR: self.selector}
        found.update({validator_name(validator): model for validator, model in self.validators.items()})
        if self.fixer is not None:
            found[FIXER] = self.fixer
        return found

    @property
    def label(self) -> str:
        """The team's name in tables and run names, with its fixer and seed where it has them."""
        return f"{self.family}, seed {self.seed}" if self.regime not in ("", "sft") else self.family

    @property
    def family(self) -> str:
        """What teams that differ in their training seed alone have in common."""
        return self.name if self.line is None else f"{self.name}, {self.line.label}"

    def tags(self) -> dict[str, str]:
        """Return what tells this team from others, as run and version tags."""
        return {
            "team": self.name,
            "regime": self.regime,
            "seed": str(self.seed),
            **(self.line.tags() if self.line else {}),
        }


def planner_only(workspace: Workspace, line: Line) -> TeamModels:
    """Return the team of the SFT planner and the selector alone."""
    return TeamModels(PLANNER_ONLY, *_frame(workspace, line), {}, None)


def sft_team(workspace: Workspace, line: Line) -> TeamModels:
    """Return the team of SFT agents, before any preference training."""
    validators = {validator: sft_validator(workspace, validator).outputs["model"] for validator in Validator}
    fixer = fixer_of(workspace, line)
    return TeamModels(SFT_TEAM, *_frame(workspace, line), validators, fixer, "sft", line)


def orpo_team(workspace: Workspace, regime: Regime, line: Line, seed: int) -> TeamModels:
    """Return the team whose validators were trained under a regime; all else is the SFT team's."""
    validators = {validator: orpo(workspace, validator, regime, line, seed).outputs["model"] for validator in Validator}
    fixer = fixer_of(workspace, line)
    name = f"ORPO {regime.value.upper()}"
    return TeamModels(name, *_frame(workspace, line), validators, fixer, regime.value, line, seed)


def all_teams(workspace: Workspace) -> Iterator[TeamModels]:
    """Yield every team of the experiment: per fixer, the SFT team and each regime with each seed."""
    experiment = workspace.experiment
    yield planner_only(workspace, next(lines(experiment)))
    for line in lines(experiment):
        yield sft_team(workspace, line)
        for regime in experiment.regimes:
            for seed in experiment.seeds:
                yield orpo_team(workspace, regime, line, seed)


def sft_agent(workspace: Workspace, agent: str) -> None:
    """Train the SFT agent of that name, or all of them, for every fixer of the experiment."""
    if agent == PLANNER:
        sft_planner(workspace)
    for validator in Validator:
        if agent == validator_name(validator):
            sft_validator(workspace, validator)
    if agent == FIXER:
        for mode in workspace.experiment.fixers:
            sft_fixer(workspace, mode)
    if agent in (SELECTOR, "all"):
        for line in lines(workspace.experiment):
            sft_team(workspace, line)


def teams_named(workspace: Workspace, name: str) -> list[TeamModels]:
    """Return the experiment's teams of that name: ``planner``, ``sft``, a regime, or ``all``.

    Raises :class:`ConfigError` for any other name.
    """
    experiment = workspace.experiment
    if name == "all":
        return list(all_teams(workspace))
    if name == PLANNER:
        return [planner_only(workspace, next(lines(experiment)))]
    if name == "sft":
        return [sft_team(workspace, line) for line in lines(experiment)]
    if name not in set(Regime):
        known = ", ".join([PLANNER, "sft", *Regime, "all"])
        raise ConfigError(f"a team must be one of {known}, but got {name!r}; choose one")
    return [orpo_team(workspace, Regime(name), line, seed) for line in lines(experiment) for seed in experiment.seeds]


def assemble(workspace: Workspace, team: TeamModels) -> StageResult:
    """Return the team (`team`): its checkpoints and its policy, as one MLflow model."""
    experiment = workspace.experiment
    settings = TeamSettings(
        policy=experiment.policy,
        generation=experiment.generation,
        sql=experiment.sql,
        schema_style=experiment.benchmark.prompt_settings(),
        seed=experiment.seed,
    )

    def compute(run: StageRun) -> None:
        folder = run.work / "team"
        write_team(folder, {name: model.path for name, model in team.agents().items()}, settings)
        run.output("team", ArtifactKind.TEAM, folder, team.tags())

    return workspace.run(
        KEY,
        title=f"assemble {team.label}",
        settings={"team": settings, "name": team.label},
        inputs=team.agents(),
        compute=compute,
        tags=team.tags(),
    )


def _frame(workspace: Workspace, line: Line) -> tuple[Artifact, Artifact]:
    return sft_planner(workspace).outputs["model"], selector_of(workspace, line)
