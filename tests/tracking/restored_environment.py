"""Restore a registered team as MLflow does elsewhere: its requirements alone in a fresh environment, its own code.

``python -m tests.tracking.restored_environment`` does it and prints the answer. It installs torch and transformers,
which takes minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from mats_sql.agents.names import AGENTS
from mats_sql.config import Policy, SqlSettings
from mats_sql.lab.base import base_model_path
from mats_sql.team.folder import TeamSettings, write_team
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.registry import Version, register
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import Store, connect
from tests.lab_source import GENERATION, lab_source

ASK = """
import json, sys
import mlflow, pandas
team = mlflow.pyfunc.load_model(sys.argv[1])
answer = team.predict(pandas.read_json(sys.argv[2], orient="records"))
import mats_sql
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({**answer.iloc[0][["sql", "outcome"]], "code": mats_sql.__file__, "loaded": loaded}))
"""


def registered_team(store: Store) -> Version:
    """Register a team whose every agent is the packaged base model."""
    settings = TeamSettings(policy=Policy(k=2), generation=GENERATION, sql=SqlSettings(workers=1))

    def compute(run: StageRun) -> None:
        write_team(run.work / "team", dict.fromkeys(AGENTS, base_model_path()), settings)
        run.output("team", ArtifactKind.TEAM, run.work / "team")

    made = run_stage(store, Stage(StageKey("assemble", 1), "assemble"), compute)
    return register(store, made.outputs["team"], "restored.team", {})


def ask(python: Path, version: Version, folder: Path) -> dict[str, Any]:
    """Return how a new process, which is not told of this repository, answers one question of the lab.

    ``sql`` and ``outcome`` are the answer, ``code`` is where the package lies that gave it, ``loaded`` are all modules.
    """
    task = next(iter(lab_source(folder / "lab", questions=1).tasks.values()))
    question = {"question": task.question.text, "database": str(task.database), "evidence": task.question.evidence}
    asked = folder / "question.json"
    pd.DataFrame([question]).to_json(asked, orient="records")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-I", "-c", ASK, version.uri, asked], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def restored(version: Version, folder: Path) -> Path:
    """Return the interpreter of a fresh virtual environment that holds the version's requirements and no more."""
    needed = mlflow.pyfunc.get_model_dependencies(version.uri)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", needed], check=True)
    return python


def main() -> None:
    """Restore a team and ask it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        version = registered_team(connect("restored", folder / "work"))
        started = time.monotonic()
        python = restored(version, folder)
        installed = time.monotonic()
        answer = ask(python, version, folder)
        print(subprocess.check_output([python, "-m", "pip", "freeze"], text=True))
        print({key: value for key, value in answer.items() if key != "loaded"})
        print(f"installed in {installed - started:.0f} s, answered in {time.monotonic() - installed:.0f} s")


if __name__ == "__main__":
    main()
