"""Two people, or one twice, start the whole experiment on one store at the same moment."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mats_sql.tracking import names
from tests.acceptance.conftest import Place, new_place
from tests.acceptance.test_kill import outputs

TRAINED_OR_DRAWN = ("sft", "rollout-plans", "rollout-pool", "pairs", "orpo", "assemble", "evaluate")


@pytest.mark.slow
def test_two_mains_on_one_store_compute_every_stage_once_and_show_the_same(
    finished: tuple[Place, object], tmp_path: Path
) -> None:
    place = new_place(tmp_path / "both", regimes=["indep"], teams={})
    both = [
        subprocess.Popen(
            place.command("main"),
            cwd=place.folder,
            env=place.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert outputs(place).items() <= outputs(finished[0]).items()
    client = MlflowClient(place.tracking_uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=500)
    stages = [run for run in runs if run.data.tags.get(names.STAGE) in TRAINED_OR_DRAWN]
    assert {run.data.tags[names.STAGE] for run in stages} == set(TRAINED_OR_DRAWN)
    assert set(Counter(run.data.tags[names.FINGERPRINT] for run in stages).values()) == {1}
