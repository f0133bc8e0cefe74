"""What is written twice agrees: the environment file and the package's requirements, MLproject and the commands."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from mats_sql.cli import commands

ROOT = Path(__file__).parent.parent
PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
ENTRY_POINTS = sorted(PROJECT["entry_points"])
RUN_WITHOUT_PARAMETERS = [
    name
    for name, entry_point in PROJECT["entry_points"].items()
    if all("default" in parameter for parameter in entry_point["parameters"].values())
]


def test_the_environment_file_pins_the_packages_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    (pip,) = (item["pip"] for item in environment if isinstance(item, dict))
    pinned = dict(item.split("==") for item in pip)
    wanted = {item.name: item.specifier for item in map(Requirement, project["dependencies"])}
    assert pinned.keys() == wanted.keys()
    assert [name for name, specifier in wanted.items() if pinned[name] not in specifier] == []


def test_every_dependency_earns_its_place_in_the_docs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    names = [item.split("==")[0].split(">")[0] for item in project["dependencies"]]
    assert [name for name in names if name not in page] == []


def test_every_entry_point_is_a_command_and_every_command_an_entry_point() -> None:
    commands = sorted(path.stem for path in (ROOT / "entrypoints").glob("*.py"))
    assert commands == ENTRY_POINTS


@cache
def helped(name: str) -> list[str]:
    """Return what an entry point's ``--help`` prints, and a last line with the heavy packages that it loaded."""
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['{name}', '--help']\n"
        "try:\n"
        f"    runpy.run_path('entrypoints/{name}.py', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "print([name for name in ('torch', 'mlflow', 'transformers', 'vllm', 'ray') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_help_names_every_parameter_of_the_entry_point(name: str) -> None:
    shown = "\n".join(helped(name))
    options = [f"--{parameter.replace('_', '-')}" for parameter in PROJECT["entry_points"][name]["parameters"]]
    assert [option for option in options if option not in shown] == []


@pytest.mark.parametrize("name", RUN_WITHOUT_PARAMETERS)
def test_a_parameter_that_mlflow_run_is_not_given_means_what_the_commands_default_means(name: str) -> None:
    parameters = PROJECT["entry_points"][name]["parameters"].items()
    given = [text for key, value in parameters for text in (f"--{key.replace('_', '-')}", str(value["default"]))]
    command = commands.commands[name]
    unset, as_mlflow_does = (command.make_context(name, list(arguments)).params for arguments in ((), given))
    assert as_mlflow_does | {"overrides": ()} == unset


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_help_loads_no_heavy_package(name: str) -> None:
    assert helped(name)[-1] == "[]"
