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

TEAMS = ("PLANNER", "VALIDATORS", "SFT", "ORPO", "PERFECT")
TRAINED_OR_DRAWN = ("sft", "rollout-plans", "rollout-pool", "pairs", "orpo", "assemble", "evaluate")


@pytest.mark.slow
def test_two_mains_on_one_store_compute_every_stage_once_and_show_the_same(
    finished: tuple[Place, object], tmp_path: Path
) -> None:
    place = new_place(tmp_path / "both", regimes=["indep"], teams={})
    logs = [(tmp_path / f"log{number}").open("w+") for number in range(2)]
    both = [place.start("main", stdout=subprocess.PIPE, stderr=log) for log in logs]
    shown = [process.communicate()[0] for process in both]
    assert [process.wait() for process in both] == [0, 0], [Path(log.name).read_text() for log in logs]
    first, second = ([line for line in text.splitlines() if line.startswith(TEAMS)] for text in shown)
    assert first == second != []
    assert outputs(place).items() <= outputs(finished[0]).items()
    client = MlflowClient(place.tracking_uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=500)
    stages = [run for run in runs if run.data.tags.get(names.STAGE) in TRAINED_OR_DRAWN]
    assert {run.data.tags[names.STAGE] for run in stages} == set(TRAINED_OR_DRAWN)
    assert set(Counter(run.data.tags[names.FINGERPRINT] for run in stages).values()) == {1}
