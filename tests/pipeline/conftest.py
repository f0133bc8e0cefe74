"""A tiny experiment on the lab, run step by step in this process, on a tracking store of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mats_sql.config import Experiment
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.store import connect

SFT = {"batch_size": 8, "max_examples": 24}


def tiny(folder: Path) -> Experiment:
    """Return the experiment: some questions, few examples, every stage."""
    return Experiment.model_validate(
        {
            "name": "tiny",
            "work_dir": folder / "work",
            "benchmark": {"kind": "lab", "validation_questions": 4},
            "lab": {"train_databases": 4, "train_questions": 32, "dev_databases": 3, "dev_questions": 12},
            "sft": dict.fromkeys(("planner", "validator", "fixer", "selector"), SFT),
            "rollout": {"questions": 16, "plans": 3, "critiques": 3},
            "pairs": {"max_pairs_per_prompt": 4},
            "policy": {"k": 2},
            "regimes": ["indep", "collab", "collab_v2"],
            "controls": False,  # tests of the controls turn them on
            "search": {"trials": 1, "k": [2]},
            "processes": 1,
        }
    )


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="package")
def tracked(folder: Path, empty_database: Path) -> Iterator[None]:
    """The tracking store of the tiny experiment."""
    shutil.copyfile(empty_database, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        yield


@pytest.fixture
def workspace(folder: Path, tracked: None) -> Iterator[Workspace]:  # noqa: ARG001
    """A fresh process's view of the tiny experiment: what earlier tests finished is reused."""
    experiment = tiny(folder)
    with Workspace(experiment, connect(experiment.name, experiment.work_dir), Progress()) as opened:
        yield opened
