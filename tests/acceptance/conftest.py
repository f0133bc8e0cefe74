"""A small experiment that the acceptance tests run as a user does: through its commands, on a store of its own.

A process is started where the process is what is tested: that an entry point exists, that another one finds what the
first left, that a killed one is continued. Elsewhere the same command runs in the tests' own process, because
importing what a command needs takes longer than most commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from mats_sql.cli import commands

ROOT = Path(__file__).parent.parent.parent

EXPERIMENT: Mapping[str, object] = {
    "name": "small",
    "benchmark": {"kind": "lab", "validation_questions": 8},
    "lab": {"train_databases": 8, "train_questions": 80, "dev_databases": 4, "dev_questions": 24},
    "sft": {agent: {"batch_size": 8, "max_examples": 48} for agent in ("planner", "validator", "fixer", "selector")},
    "rollout": {"questions": 30, "plans": 3, "critiques": 3},
    "pairs": {"max_pairs_per_prompt": 4, "evaluation_share": 0.25},
    "orpo": {"checkpoint_steps": 2},
    "processes": 1,  # the suite runs two tests at a time
    "policy": {"k": 2},
    "regimes": ["indep", "collab_v2"],
    "controls": False,
    "teams": {"collab-no-fixer": {"validators": "collab_v2", "fixer": "none"}},
    "search": {"trials": 2, "k": [2, 3]},
}


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a config, a work folder and an MLflow store."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "experiment.yaml"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def write(self, experiment: Mapping[str, object]) -> None:
        self.config.write_text(yaml.safe_dump({**experiment, "work_dir": str(self.folder / "work")}))

    def command(self, entry_point: str, *arguments: str) -> list[str]:
        script = ROOT / "entrypoints" / f"{entry_point}.py"
        return [sys.executable, str(script), "--config", str(self.config), *arguments]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        return kept | {"MLFLOW_TRACKING_URI": self.tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true"}

    def start(self, entry_point: str, **options: Any) -> subprocess.Popen[str]:
        """Start an entry point in a process of its own; ``options`` are ``Popen``'s."""
        return subprocess.Popen(
            self.command(entry_point), cwd=self.folder, env=self.environment(), text=True, **options
        )

    def run(self, entry_point: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an entry point to its end, in a process of its own."""
        return subprocess.run(
            self.command(entry_point, *arguments),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=900,
        )

    def call(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in this process."""
        line = [command, "--config", str(self.config), *arguments]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
                patch.delenv(name)
            for name, value in self.environment().items():
                patch.setenv(name, value)
            done = CliRunner().invoke(commands, line, catch_exceptions=False)
        return subprocess.CompletedProcess(line, done.exit_code, done.stdout, done.stderr)


def new_place(folder: Path, **changes: object) -> Place:
    """Return a place that holds the small experiment, with some settings changed."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder)
    place.write({**EXPERIMENT, **changes})
    return place


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, subprocess.CompletedProcess[str]]:
    """The small experiment after one run of `main`, and what it printed."""
    place = new_place(tmp_path_factory.mktemp("finished"))
    done = place.run("main")
    assert done.returncode == 0, done.stderr
    return place, done
