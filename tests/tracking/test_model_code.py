"""A registered team runs where this package is not installed: on the code in it and the requirements it records."""

from __future__ import annotations

import os
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import mlflow
import pytest
from packaging.requirements import Requirement

from mats_sql.tracking.registry import Version
from mats_sql.tracking.store import Store
from tests.tracking.restored_environment import ask, registered_team, restored

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def version(store: Store) -> Version:
    return registered_team(store)


def requirements_of(version: Version) -> list[Requirement]:
    path = Path(mlflow.pyfunc.get_model_dependencies(version.uri))
    return [Requirement(line) for line in path.read_text("utf-8").split()]


def installed_with(requirements: list[Requirement]) -> set[str]:
    """Return the names of all distributions that come with these requirements, in small letters."""
    found: set[str] = set()
    waiting = [(requirement.name, requirement.extras) for requirement in requirements]
    while waiting:
        name, extras = waiting.pop()
        try:
            known = distribution(name)
        except PackageNotFoundError:
            continue
        if known.name.lower() not in found:
            found.add(known.name.lower())
            needs = map(Requirement, known.requires or [])
            waiting += [
                (need.name, need.extras)
                for need in needs
                if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in {"", *extras})
            ]
    return found


def assert_answered(answer: dict[str, Any], folder: Path) -> None:
    assert answer["sql"].startswith("SELECT ")
    assert answer["outcome"] == "rows"
    assert Path(answer["code"]).is_relative_to(folder / "mlruns"), "the code must be the model's own"


def test_a_team_answers_with_its_own_code_and_loads_nothing_that_it_does_not_require(
    version: Version, store_folder: Path
) -> None:
    answer = ask(Path(sys.executable), version, store_folder)
    assert_answered(answer, store_folder)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ours = {Requirement(line).name.lower() for line in project["dependencies"]}
    distributions = packages_distributions()
    loaded = {name.lower() for module in answer["loaded"] for name in distributions.get(module, [])}
    assert loaded & ours >= {"torch", "numpy"}
    assert (loaded & ours) - installed_with(requirements_of(version)) == set()


def test_requirements_are_exact_versions_that_an_index_has_and_no_trainer_is_among_them(version: Version) -> None:
    requirements = requirements_of(version)
    for requirement in requirements:
        [pin] = requirement.specifier
        assert pin.operator == "=="
        assert "+" not in pin.version
    names = {requirement.name for requirement in requirements}
    assert names >= {"mlflow", "torch", "transformers", "numpy", "PyYAML"}
    assert not names & {"mats-sql", "trl", "optuna", "datasets", "matplotlib", "vllm", "bm25s"}


def test_a_model_requires_nothing_that_only_an_extra_of_this_package_brings(version: Version) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    own = installed_with([Requirement(line) for line in project["dependencies"]])
    assert {requirement.name.lower() for requirement in requirements_of(version)} <= own


def test_the_code_in_a_model_has_no_stage_no_lab_and_no_teacher(version: Version) -> None:
    code = Path(mlflow.artifacts.download_artifacts(f"{version.uri}/code"))
    rooms = {path.name for path in (code / "mats_sql").iterdir() if path.is_dir()}
    assert rooms == {"agents", "benchmark", "cluster", "config", "generation", "sql", "team", "tracking"}
    assert sum(path.stat().st_size for path in code.rglob("*") if path.is_file()) < 1_000_000


@pytest.mark.skipif("MATS_RESTORE" not in os.environ, reason="installs torch, in minutes: set MATS_RESTORE=1")
def test_a_team_answers_in_an_environment_restored_from_its_requirements_alone(
    version: Version, store_folder: Path
) -> None:
    assert_answered(ask(restored(version, store_folder), version, store_folder), store_folder)
