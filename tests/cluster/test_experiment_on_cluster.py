"""With ``cluster: ray`` alone changed, stages draw, judge and score on the nodes, to the same bytes, killed or not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mats_sql.pipeline.evaluate import read_candidates
from tests.cluster.conftest import TwoNodes, commands, needs_ray, wait_until
from tests.cluster.drawing import digests, drawn

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow, needs_ray]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> dict[str, str]:
    """The digests of what this machine computes without a cluster."""
    return digests(drawn(new_folder(tmp_path_factory.mktemp("here"), empty_database), None))


def test_stages_on_two_nodes_have_the_bytes_of_this_machine_and_are_reused_without_a_cluster(
    nodes: TwoNodes, here: dict[str, str], tmp_path: Path, empty_database: Path
) -> None:
    folder = new_folder(tmp_path / "there", empty_database)
    there = drawn(folder, "ray")
    assert started_actors() == {"EngineActor", "SqlActor"}
    assert nodes.named("EngineActor") == []
    candidates = read_candidates(there["evaluation"].outputs["candidates"])
    assert any(row.selector_score is not None for row in candidates)
    assert digests(there) == here
    again = drawn(folder, None)
    assert {stage: result.reused for stage, result in again.items()} == dict.fromkeys(there, True)
    assert {result.run_id for result in again.values()} == {result.run_id for result in there.values()}


def test_a_command_killed_while_its_nodes_draw_leaves_no_process_and_ends_with_the_same_bytes(
    nodes: TwoNodes, here: dict[str, str], tmp_path: Path, empty_database: Path
) -> None:
    """It is killed in its evaluation: its SQL workers have judged the rollout and wait, an engine draws."""
    folder, before = new_folder(tmp_path / "killed", empty_database), set(nodes.processes())
    process = start(folder)

    def evaluates() -> bool:
        begun = any((folder / "work" / "stages").glob("evaluate-*/work"))
        return begun and bool(nodes.named("sql.sandbox.worker") and nodes.named("EngineActor.answer"))

    try:
        wait_until(lambda: evaluates() or process.poll() is not None, "an engine that draws, and SQL workers beside it")
        at_work = set(nodes.processes()) - before
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: not at_work & set(commands()), "all that worked for the killed command has ended")
    wait_until(lambda: set(nodes.processes()) <= before, "nothing has begun in its place")
    resumed = drawn(folder, "ray")
    assert {stage: result.reused for stage, result in resumed.items()} == {
        "rollout": True,
        "team": True,
        "evaluation": False,
    }
    assert digests(resumed) == here


def new_folder(folder: Path, empty_database: Path) -> Path:
    """Make a folder with a tracking database without runs."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(empty_database, folder / "mlflow.db")
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start :mod:`tests.cluster.drawing` in a process of its own."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "tests.cluster.drawing", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)


def started_actors() -> set[str]:
    """Return the classes of all actors that ran on the cluster so far."""
    from ray._private.state import actors

    return {actor["ActorClassName"] for actor in actors().values()}
