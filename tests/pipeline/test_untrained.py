"""An experiment whose checkpoint writes nonsense reaches its end: what nobody can learn from is told, then left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mats_sql.config import UNTRAINED, Experiment
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.assemble import Line
from mats_sql.pipeline.main import run_experiment
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.store import connect

AGENTS = ("planner", "validator", "fixer", "selector")
LORA = {"batch_size": 8, "max_examples": 8, "max_tokens": 4096, "lora": {"rank": 2}}


@pytest.fixture
def nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A tiny experiment that begins with random weights."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    experiment = Experiment.model_validate(
        {
            "name": "nonsense",
            "work_dir": tmp_path / "work",
            "benchmark": {"kind": "lab", "validation_questions": 3},
            "lab": {"train_databases": 2, "train_questions": 10, "dev_databases": 2, "dev_questions": 8},
            "models": dict.fromkeys(AGENTS, UNTRAINED),
            "untrained": {"vocabulary": 700, "layers": 1, "width": 32, "feed_forward": 48},
            "generation": {"plan_tokens": 12, "critique_tokens": 12, "fix_tokens": 12},
            "sft": dict.fromkeys(AGENTS, LORA),
            "rollout": {"questions": 6, "plans": 2, "critiques": 2},
            "policy": {"k": 2},
            "search": {"k": [2]},
            "processes": 1,  # what it tells is read below
            "regimes": ["indep", "collab_v2"],
        }
    )
    with Workspace(experiment, connect(experiment.name, experiment.work_dir), Progress()) as opened:
        yield opened


@pytest.mark.slow
def test_a_checkpoint_that_writes_no_sql_ends_in_a_table(
    nonsense: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run_experiment(nonsense)
    shown = capsys.readouterr()
    assert "ORPO COLLAB_V2" in shown.out
    assert "nan" not in shown.out.split()
    assert "sft fixer: no examples, so the model is the one it starts from, unchanged" in shown.err
    seeds, line = Seeds(), Line(nonsense.experiment.fixers[0])
    made = steps.checkpoint(nonsense, UNTRAINED)
    fixer = steps.supervised_fixer(nonsense, line.critique, seeds)
    assert (fixer.digest, steps.planner(nonsense, seeds).digest == made.digest) == (made.digest, False)
    assert results.evaluation(nonsense, results.supervised_team(nonsense, line, seeds)).metrics["pipeline_at_1"] == 0


def test_the_checkpoint_is_made_once_for_all_agents_and_anew_for_other_settings(nonsense: Workspace) -> None:
    made = steps.checkpoint(nonsense, UNTRAINED)
    assert steps.checkpoint(nonsense, UNTRAINED).run_id == made.run_id
    other = nonsense.experiment.untrained.model_copy(update={"seed": 1})
    changed = nonsense.experiment.model_copy(update={"untrained": other})
    with Workspace(changed, nonsense.store, nonsense.progress) as workspace:
        assert steps.checkpoint(workspace, UNTRAINED).digest != made.digest
