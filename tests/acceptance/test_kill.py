"""A stage killed anywhere and started again ends with the same bytes as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.acceptance.conftest import Place, new_place

pytestmark = pytest.mark.slow

KILLED_STAGES = ("rollout-pool", "orpo", "evaluate")


def outputs(place: Place) -> dict[str, str]:
    """Return the digest of every registered dataset and model by stage and name."""
    client = MlflowClient(place.tracking_uri)
    versions = client.search_model_versions(max_results=1000)
    return {f"{item.name}:{item.tags['mats.digest']}": item.tags["mats.digest"] for item in versions}


def kill_within(place: Place, stage: str, delay_s: float) -> bool:
    """Start `main`, kill it ``delay_s`` after the stage began; false when it ended before."""
    silent = subprocess.DEVNULL
    process = place.start("main", stdout=silent, stderr=silent, start_new_session=True)
    begun: float | None = None
    while process.poll() is None:
        if begun is None and any((place.folder / "work" / "stages").glob(f"{stage}-*/work")):
            begun = time.monotonic()
        if begun is not None and time.monotonic() - begun >= delay_s:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.02)  # polling another process, not waiting for a time to pass
    return False


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A part of the small experiment, killed in three stages and then run to its end."""
    place = new_place(tmp_path_factory.mktemp("killed"), regimes=["indep"], teams={})
    for stage, delay_s in zip(KILLED_STAGES, (1.0, 0.7, 0.5), strict=True):
        assert kill_within(place, stage, delay_s), f"{stage} ended before it could be killed"
    done = place.run("main")
    assert done.returncode == 0, done.stderr
    return place


def test_a_killed_experiment_ends_with_the_bytes_of_one_that_was_not(
    killed: Place, finished: tuple[Place, object]
) -> None:
    straight, resumed = outputs(finished[0]), outputs(killed)
    assert {name.split(":")[0] for name in resumed} >= {
        "small.planner",
        "small.team",
        "small.dataset.evaluate.candidates",
    }
    assert resumed.items() <= straight.items()


def test_a_search_of_two_processes_killed_in_its_trials_ends_with_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    """What two workers find does not depend on which was quicker, nor a score on what else was in the cache."""
    search: dict[str, object] = {"trials": 4, "k": [2, 3], "block_questions": 4}
    places = [
        new_place(tmp_path / name, regimes=["indep"], teams={}, processes=2, search=search, main={"search": True})
        for name in ("whole", "killed")
    ]
    assert kill_within(places[1], "search-trial", 2.0)
    for place in places:
        done = place.run("main")
        assert done.returncode == 0, done.stderr
    assert outputs(places[0]) == outputs(places[1])


def test_no_run_is_left_running(killed: Place) -> None:
    client = MlflowClient(killed.tracking_uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    open_runs = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    mains = [run for run in open_runs if run.info.run_name == "main"]
    assert [run.info.run_name for run in open_runs if run not in mains] == []


def test_work_folders_of_finished_stages_are_gone(killed: Place) -> None:
    assert list(Path(killed.folder / "work" / "stages").glob("*/work")) == []
