"""A training in a process of its own makes what it makes here, and neither process outlives the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import TrainingArguments

from mats_sql.config import OrpoSettings, SftSettings, TrainingSettings
from mats_sql.digests import digest_tree
from mats_sql.errors import TrainingError
from mats_sql.generation import LOADED
from mats_sql.parquet import write_records
from mats_sql.preference.pair import PreferencePair
from mats_sql.teaching.example import SftExample
from mats_sql.training.arguments import placed
from mats_sql.training.jobs import TrainingJob
from mats_sql.training.separate import runs_separately, train
from tests.training.processes import children, state

ALONE, HERE = TrainingSettings(separate=True), TrainingSettings(separate=False)
FAST = SftSettings(batch_size=4, learning_rate=1e-3, checkpoint_steps=2, max_tokens=256)


@pytest.fixture
def job(base: Path, examples: list[SftExample], tmp_path: Path) -> TrainingJob:
    """Return an SFT of ten steps, as files."""
    write_records(examples, SftExample, tmp_path / "examples.parquet")
    return TrainingJob(base, tmp_path / "out", FAST, 7, tmp_path / "examples.parquet", None, tmp_path / "checkpoints")


def test_a_job_survives_the_way_to_another_process(job: TrainingJob) -> None:
    preference = replace(job, settings=OrpoSettings(beta=0.1), evaluation=job.data)
    for one in (job, preference):
        assert TrainingJob.from_json(json.loads(json.dumps(one.as_json()))) == one


class Kept:
    """A model in memory."""

    here = False

    def load(self) -> None:
        self.here = True

    def unload(self) -> None:
        self.here = False


def test_a_training_has_no_model_beside_it_that_was_kept(job: TrainingJob) -> None:
    kept, seen = Kept(), []
    with LOADED.keeping():
        with LOADED.holding(kept, 1):
            pass
        LOADED.leave(kept)
        assert kept.here
        train(job, HERE, lambda *_: seen.append(kept.here))
    assert seen[:1] == [False]


@pytest.mark.slow
def test_a_killed_child_is_one_line_and_the_next_goes_on_to_the_bytes_of_a_training_here(job: TrainingJob) -> None:
    """The child is killed once it has said its fifth step, by when a checkpoint is there."""
    heard: list[tuple[int, Mapping[str, float]]] = []
    before = set(children(os.getpid()))

    def kill_at_five(step: int, _: Mapping[str, float]) -> None:
        if step == 5:
            [child] = set(children(os.getpid())) - before
            os.kill(child, signal.SIGKILL)

    with pytest.raises(TrainingError, match="SIGKILL") as lost:
        train(job, ALONE, kill_at_five)
    assert "\n" not in str(lost.value)
    assert not job.out.exists()
    assert list(job.checkpoints.glob("checkpoint-*"))
    train(job, ALONE, lambda step, metrics: heard.append((step, metrics)))
    assert set(children(os.getpid())) <= before
    beside: list[tuple[int, Mapping[str, float]]] = []
    here = replace(job, out=job.out.with_name("here"))
    train(here, HERE, lambda step, metrics: beside.append((step, dict(metrics))))
    assert heard == beside
    assert digest_tree(job.out) == digest_tree(here.out)


@pytest.mark.slow
def test_what_a_user_can_mend_is_the_same_line_as_here(base: Path, pairs: list[PreferencePair], tmp_path: Path) -> None:
    write_records(pairs, PreferencePair, tmp_path / "pairs.parquet")
    table, settings = tmp_path / "pairs.parquet", OrpoSettings(max_tokens=2)
    job = TrainingJob(base, tmp_path / "out", settings, 0, table, table, tmp_path / "checkpoints")
    with pytest.raises(TrainingError, match="at least one pair of at most 2 tokens"):
        train(job, ALONE, lambda *_: None)


PARENT = """
import json, sys
from mats_sql.config import TrainingSettings
from mats_sql.training.jobs import TrainingJob
from mats_sql.training.separate import train
job = TrainingJob.from_json(json.loads(sys.argv[1]))
train(job, TrainingSettings(separate=True), lambda step, metrics: print(step, flush=True))
"""


def test_a_killed_parent_leaves_no_child(job: TrainingJob) -> None:
    long = replace(job, settings=FAST.model_copy(update={"epochs": 10_000.0}))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(long.as_json())], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline(), "the child trains"
    [child] = children(parent.pid)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and state(child) != "Z":
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.1)


def test_a_cpu_trains_in_this_process_unless_the_settings_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not runs_separately(TrainingSettings())
    assert runs_separately(ALONE)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert runs_separately(TrainingSettings())
    assert not runs_separately(HERE)


def test_a_process_that_sees_several_cards_takes_one(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=4)
    assert arguments.n_gpu == 0
    arguments._n_gpu = 2  # what transformers finds on a machine with two cards
    assert placed(arguments).n_gpu == 1
    assert arguments.train_batch_size == 4
