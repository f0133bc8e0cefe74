"""Processes that share a training's steps make what one makes, up to the order in which numbers are added."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from mats_sql.config import Experiment, OrpoSettings, SftSettings, TrainingSettings
from mats_sql.errors import TrainingError
from mats_sql.parquet import write_records
from mats_sql.preference.pair import PreferencePair
from mats_sql.teaching.example import SftExample
from mats_sql.training.jobs import TrainingJob
from mats_sql.training.order import filled
from mats_sql.training.report import TrainingReport
from mats_sql.training.separate import train
from mats_sql.training.steps import share_of_step, step_size
from tests.training.processes import children, is_spawned

TWO, ONE = TrainingSettings(processes=2), TrainingSettings()
SHARDED = TrainingSettings(processes=2, shard=True)

in_both_ways = pytest.mark.parametrize("two", [TWO, SHARDED], ids=["whole", "sharded"])


@pytest.mark.slow
@in_both_ways
def test_two_processes_train_orpo_like_one_with_an_odd_number_of_pairs(
    two: TrainingSettings, base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    """37 pairs end in a step of 5, of which the second process has 2 that count; the held-out ones do not divide."""
    write_records(pairs[:37], PreferencePair, tmp_path / "pairs.parquet")
    write_records(pairs[:5], PreferencePair, tmp_path / "held_out.parquet")
    settings = OrpoSettings(batch_size=8, learning_rate=1e-3, max_tokens=256, nll="prompt_and_answer")
    tables = (tmp_path / "pairs.parquet", tmp_path / "held_out.parquet")
    job = TrainingJob(base, tmp_path / "one", settings, 7, *tables, tmp_path / "checkpoints")
    assert_alike(job, two, tmp_path / "two")


@pytest.mark.slow
@in_both_ways
def test_a_killed_process_of_two_is_one_line_and_the_next_start_ends_like_one_process(
    two: TrainingSettings, base: Path, examples: list[SftExample], tmp_path: Path
) -> None:
    """It is killed at its third step, after a checkpoint; 33 examples end in a step that one process has nothing of."""
    before = set(children(os.getpid()))
    write_records(examples[:33], SftExample, tmp_path / "examples.parquet")
    settings = SftSettings(batch_size=4, gradient_accumulation=2, checkpoint_steps=1, max_tokens=256)
    table = tmp_path / "examples.parquet"
    job = TrainingJob(base, tmp_path / "one", settings, 7, table, None, tmp_path / "checkpoints")

    def kill_the_last(step: int, _: Mapping[str, float]) -> None:
        if step == 3:
            started = set(children(os.getpid())) - before
            os.kill([pid for launcher in started for pid in children(launcher) if is_spawned(pid)][-1], signal.SIGKILL)

    with pytest.raises(TrainingError, match="SIGKILL") as lost:
        train(replace(job, out=tmp_path / "two"), two, kill_the_last)
    assert "\n" not in str(lost.value)
    assert any(job.checkpoints.glob("*/*fsdp*")) == two.shard
    assert set(children(os.getpid())) <= before
    assert_alike(job, two, tmp_path / "two")


def assert_alike(job: TrainingJob, two: TrainingSettings, out: Path) -> None:
    one_report, one_heard = heard(job, ONE)
    two_report, two_heard = heard(replace(job, out=out), two)
    assert two_report.metrics == pytest.approx(one_report.metrics, rel=1e-4)
    assert [step for step, _ in two_heard] == [step for step, _ in one_heard]
    for (_, shared), (_, alone) in zip(two_heard, one_heard, strict=True):
        assert shared == pytest.approx(alone, rel=1e-3, abs=1e-5)
    weights = (load_file(folder / "model.safetensors") for folder in (out, job.out))
    torch.testing.assert_close(*weights, atol=1e-5, rtol=0)
    assert (out / "config.json").read_bytes() == (job.out / "config.json").read_bytes()


def heard(job: TrainingJob, where: TrainingSettings) -> tuple[TrainingReport, list[tuple[int, dict[str, float]]]]:
    steps: list[tuple[int, dict[str, float]]] = []
    report = train(job, where, lambda step, metrics: steps.append((step, dict(metrics))))
    return report, steps


@given(st.integers(1, 16), st.integers(1, 16), st.integers(1, 8))
def test_the_shares_of_a_step_are_the_whole_step(batch: int, accumulation: int, processes: int) -> None:
    settings = SftSettings(batch_size=batch, gradient_accumulation=accumulation * processes)
    at_a_time, times = share_of_step(settings, processes)
    assert at_a_time * times * processes == step_size(settings)
    assert 1 <= at_a_time <= batch


def test_blanks_fill_up_to_a_multiple() -> None:
    assert [len(filled(range(count), 0, 4)) for count in (4, 5, 8)] == [4, 8, 8]


def test_a_step_that_the_processes_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="must divide orpo's step"):
        Experiment.model_validate({"training": {"processes": 8}, "orpo": {"batch_size": 12}})


def test_processes_alone_are_in_a_training_s_identity() -> None:
    assert TrainingSettings(separate=True).identity() == TrainingSettings().identity() == {}
    assert TWO.identity() == {"processes": 2}
    assert SHARDED.identity() == {"processes": 2, "shard": True}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"training": {"shard": True}}, "training.shard shares a model among training.processes, but that is 1"),
        (
            {"training": {"shard": True, "processes": 2}, "orpo": {"lora": {"rank": 4}}},
            "training.shard is for full weights, but orpo.lora.rank is 4",
        ),
    ],
)
def test_a_model_that_cannot_be_sharded_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Experiment.model_validate(settings)
