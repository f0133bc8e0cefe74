"""A team on disk: each agent's checkpoint and ``team.json``, which says how they work together."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from mats_sql.agents import AGENTS, FIXER, PLANNER, PROMPT_VERSIONS, SELECTOR, Validator, validator_name
from mats_sql.config import SPEED_SETTINGS, BenchmarkSettings, GenerationSettings, Policy, Section, SqlSettings
from mats_sql.errors import ConfigError, ModelError
from mats_sql.generation import Engine, open_engine
from mats_sql.links import link_tree
from mats_sql.sql import SqlExecutor
from mats_sql.team.flow import Agents, Team

TEAM_FILE = "team.json"
SPEED_VARIABLE = "MATS_SPEED"


class TeamSettings(Section):
    """What a team needs beside its checkpoints. ``schema_style`` holds the benchmark settings that change a prompt."""

    policy: Policy = Policy()
    generation: GenerationSettings = GenerationSettings()
    sql: SqlSettings = SqlSettings()
    schema_style: Mapping[str, bool | int] = Field(default_factory=dict)
    prompt_versions: Mapping[str, str] = Field(default_factory=lambda: dict(PROMPT_VERSIONS))
    seed: int = 0

    def lasting(self) -> dict[str, object]:
        """Return what makes this team and no other: all settings but those that only change how fast it answers.

        The one source of a team's identity: both its file and the fingerprint of the stage that writes it. How fast it
        answers is said where it answers (:func:`open_team`).
        """
        return self.model_dump(mode="json") | {
            "generation": self.generation.team_settings(),
            "sql": self.sql.model_dump(mode="json", exclude={"workers"}),
        }

    def at_speed(self, given: str) -> TeamSettings:
        """Return the settings with the speed of this machine: a YAML mapping of settings such as ``{workers: 4}``.

        ``workers`` is ``sql.workers``, all others are of ``generation``. Raises :class:`ConfigError`.
        """
        speed = _speed(given)
        document = self.model_dump()
        document["sql"]["workers"] = speed.pop("workers", self.sql.workers)
        document["generation"] |= speed
        try:
            return TeamSettings.model_validate(document)
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise ConfigError(
                f"{SPEED_VARIABLE}: {key}: {problem['msg']}, but got {problem['input']!r}; mend the value"
            ) from None

    def benchmark_settings(self) -> BenchmarkSettings:
        """Return the settings that the schema text is made with."""
        return BenchmarkSettings.model_validate(self.schema_style)


def write_team(folder: Path, agents: Mapping[str, Path], settings: TeamSettings) -> None:
    """Write a team's folder from checkpoint folders by agent name; checkpoints are linked, not copied.

    The names are ``planner``, ``select-validator``, ``condition-validator``, ``fixer`` and ``selector``; all but the
    planner may be missing. What a killed attempt left in ``folder`` is replaced.
    """
    if PLANNER not in agents or not set(agents) <= set(AGENTS):
        raise ModelError(f"a team must have a planner and agents among {sorted(AGENTS)}, but got {sorted(agents)}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, checkpoint in agents.items():
        link_tree(checkpoint, folder / name)
    (folder / TEAM_FILE).write_text(json.dumps(settings.lasting(), indent=1) + "\n", "utf-8")


def read_settings(folder: Path) -> TeamSettings:
    """Read ``team.json``.

    Raises :class:`ModelError` when it is missing or malformed, or when the team was trained on other prompts than this
    code writes.
    """
    path = folder / TEAM_FILE
    try:
        settings = TeamSettings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"a team must have a {TEAM_FILE}, but {path}: {error.strerror}; give a team's folder"
        ) from None
    except ValidationError as error:
        problem = error.errors()[0]
        raise ModelError(
            f"{TEAM_FILE} must be valid, but {path}: {problem['loc']}: {problem['msg']}; register the team again"
        ) from None
    if dict(settings.prompt_versions) != dict(PROMPT_VERSIONS):
        raise ModelError(
            f"a team must be used with the prompts it was trained on, but {path} has {dict(settings.prompt_versions)}; "
            "check out the commit that its registered version names"
        )
    return settings


def open_team(folder: Path, resources: ExitStack) -> Team:
    """Return the team of a folder, which loads its models when it is asked; ``resources`` close them.

    The environment variable ``MATS_SPEED`` may hold the speed settings of this machine (:meth:`TeamSettings.at_speed`).
    Raises :class:`ModelError` and :class:`ConfigError`.
    """
    settings = read_settings(folder).at_speed(os.environ.get(SPEED_VARIABLE, ""))

    def opened(agent: str, checkpoint: Path) -> Engine:
        engine = open_engine(settings.generation.of_agent(agent), checkpoint)
        resources.callback(engine.close)
        return engine

    agents = agents_of(folder, opened)
    executor = resources.enter_context(SqlExecutor(settings.sql.limits, settings.sql.workers))
    return Team(agents, settings.policy, settings.generation, executor, settings.seed)


def _speed(given: str) -> dict[str, object]:
    try:
        speed = yaml.safe_load(given) or {}
    except yaml.YAMLError:
        speed = None
    if not isinstance(speed, dict):
        raise ConfigError(f"{SPEED_VARIABLE} must be a mapping, but got {given!r}; e.g. '{{loaded_models: 5}}'")
    known = {*SPEED_SETTINGS, "workers"}
    unknown = next((key for key in speed if key not in known), None)
    if unknown is not None:
        raise ConfigError(f"{SPEED_VARIABLE} may set {', '.join(sorted(known))}, but got {unknown!r}; leave it out")
    return speed


def agents_of(folder: Path, opened: Callable[[str, Path], Engine]) -> Agents:
    """Return a team's agents, ``opened`` by name and checkpoint; raises :class:`ModelError` without a planner."""
    if not (folder / PLANNER).is_dir():
        raise ModelError(f"a team must have a planner, but {folder} has none; assemble or register the team again")
    engines = {name: opened(name, folder / name) for name in AGENTS if (folder / name).is_dir()}
    named = {validator: engines.get(validator_name(validator)) for validator in Validator}
    return Agents(
        planner=engines[PLANNER],
        validators={validator: engine for validator, engine in named.items() if engine is not None},
        fixer=engines.get(FIXER),
        selector=engines.get(SELECTOR),
    )
