"""A small experiment that draws, judges and scores, for tests to run here, to start and to kill.

``python drawing.py FOLDER`` does it on the cluster that Ray finds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from mats_sql.config import Experiment
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline.assemble import TeamModels, assemble
from mats_sql.pipeline.base_models import base_model
from mats_sql.pipeline.evaluate import evaluate
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.rollout import rollout_plans
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.stage import StageResult
from mats_sql.tracking.store import connect

Cluster = Literal["ray"] | None

EXPERIMENT: Mapping[str, object] = {
    "name": "tiny",
    "benchmark": {"kind": "lab", "validation_questions": 4},
    "lab": {"train_databases": 2, "train_questions": 8, "dev_databases": 2, "dev_questions": 8},
    "rollout": {"plans": 2},
    "policy": {"k": 2},
    "search": {"k": [2]},
    "generation": {"device": "cpu", "decode_rows": 4, "plan_tokens": 64},
    "sql": {"workers": 1},
    "processes": 1,
}
"""Few questions, in shards of two prompts each."""


def drawn(folder: Path, cluster: Cluster) -> dict[str, StageResult]:
    """Return what a new process finds or computes in the folder: a rollout, and a team of base models evaluated."""
    base = base_model("lab")
    team = TeamModels("bare", planner=base, selector=base, validators={}, fixer=None)
    with _opened(folder, cluster) as workspace:
        asked = steps.questions(workspace)
        rollout = rollout_plans(workspace, asked, [base])
        made = assemble(workspace, team)
        evaluation = evaluate(workspace, asked, made.outputs["team"], team, validation_only=True)
    return {"rollout": rollout, "team": made, "evaluation": evaluation}


def digests(results: Mapping[str, StageResult]) -> dict[str, str]:
    """Return the digest of every output by stage and name."""
    return {
        f"{stage}/{name}": output.digest for stage, result in results.items() for name, output in result.outputs.items()
    }


@contextmanager
def _opened(folder: Path, cluster: Cluster) -> Iterator[Workspace]:
    folder.mkdir(exist_ok=True)
    experiment = Experiment.model_validate({**EXPERIMENT, "work_dir": folder / "work", "cluster": cluster})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        with Workspace(experiment, connect(experiment.name, experiment.work_dir), Progress()) as workspace:
            yield workspace


if __name__ == "__main__":
    drawn(Path(sys.argv[1]), "ray")
