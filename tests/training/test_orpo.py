from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mats_sql.agents.messages import user
from mats_sql.config import LoraSettings, OrpoSettings
from mats_sql.digests import digest_tree
from mats_sql.errors import TrainingError
from mats_sql.preference.pair import PreferencePair
from mats_sql.training.orpo import train_orpo
from mats_sql.training.report import TrainingReport

FAST = OrpoSettings(batch_size=4, epochs=1, learning_rate=1e-3, checkpoint_steps=3, max_tokens=256)


class Killed(Exception):
    """The training was stopped from outside."""


def train(pairs: list[PreferencePair], evaluation: list[PreferencePair], base: Path, out: Path, **changes):
    """Train and return (report, metrics per step); ``stop_at`` raises at a step."""
    stop_at, checkpoints = changes.pop("stop_at", None), changes.pop("checkpoints", None)
    heard: list[tuple[int, dict[str, float]]] = []

    def hear(step: int, metrics: Mapping[str, float]) -> None:
        if step == stop_at:
            raise Killed
        heard.append((step, dict(metrics)))

    report = train_orpo(
        pairs,
        evaluation,
        base=base,
        out=out,
        settings=FAST.model_copy(update=changes),
        seed=7,
        on_metrics=hear,
        checkpoints=checkpoints,
    )
    return report, heard


@pytest.mark.parametrize("changes", [{}, {"lora": LoraSettings(rank=2, dropout=0.2)}], ids=["full", "lora_dropout"])
@pytest.mark.parametrize("stop_at", [2, 5, 9])
def test_a_stopped_training_continues_to_the_same_bytes_and_metrics(
    changes: dict[str, object], stop_at: int, base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    straight = train(pairs, pairs[:6], base, tmp_path / "straight", **changes)
    where = {"checkpoints": tmp_path / "checkpoints", **changes}
    with pytest.raises(Killed):
        train(pairs, pairs[:6], base, tmp_path / "resumed", stop_at=stop_at, **where)
    assert (stop_at > 3) == any((tmp_path / "checkpoints").glob("checkpoint-*/complete"))
    assert not (tmp_path / "resumed").exists()
    resumed = train(pairs, pairs[:6], base, tmp_path / "resumed", **where)
    assert resumed == straight
    assert digest_tree(tmp_path / "resumed") == digest_tree(tmp_path / "straight")
    assert not (tmp_path / "checkpoints").exists()


def test_a_torn_checkpoint_is_not_continued(base: Path, pairs: list[PreferencePair], tmp_path: Path) -> None:
    train(pairs, [], base, tmp_path / "straight")
    with pytest.raises(Killed):
        train(pairs, [], base, tmp_path / "out", stop_at=8, checkpoints=tmp_path / "checkpoints")
    newest = tmp_path / "checkpoints" / "checkpoint-6"
    (newest / "complete").unlink()
    (newest / "model.safetensors").write_bytes(b"torn")
    train(pairs, [], base, tmp_path / "out", checkpoints=tmp_path / "checkpoints")
    assert digest_tree(tmp_path / "out") == digest_tree(tmp_path / "straight")


def test_a_checkpoint_of_other_settings_is_not_continued(
    base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    train(pairs, [], base, tmp_path / "straight", beta=0.5)
    with pytest.raises(Killed):
        train(pairs, [], base, tmp_path / "out", stop_at=8, checkpoints=tmp_path / "checkpoints")
    train(pairs, [], base, tmp_path / "out", checkpoints=tmp_path / "checkpoints", beta=0.5)
    assert digest_tree(tmp_path / "out") == digest_tree(tmp_path / "straight")


SCRIPT = """
import os, pickle, signal, sys
from pathlib import Path
from mats_sql.config import OrpoSettings
from mats_sql.training.orpo import train_orpo
folder, base, pairs = Path(sys.argv[1]), Path(sys.argv[2]), pickle.loads(Path(sys.argv[3]).read_bytes())
def hear(step, metrics):
    if step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
settings = OrpoSettings(batch_size=4, epochs=1, learning_rate=1e-3, checkpoint_steps=3, max_tokens=256)
train_orpo(pairs, [], base=base, out=folder / "out", settings=settings, seed=7, on_metrics=hear,
           checkpoints=folder / "checkpoints")
"""


def test_kill_9_and_the_same_command_again_end_with_the_same_bytes(
    base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    (tmp_path / "pairs").write_bytes(pickle.dumps(pairs))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(base), str(tmp_path / "pairs")]
    killed = subprocess.run(command, check=False, capture_output=True, env=os.environ)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-500:]
    train(pairs, [], base, tmp_path / "out", checkpoints=tmp_path / "checkpoints")
    train(pairs, [], base, tmp_path / "straight")
    assert digest_tree(tmp_path / "out") == digest_tree(tmp_path / "straight")


def test_the_report_holds_training_and_evaluation_metrics(
    base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    report, heard = train(pairs[:32], pairs[32:], base, tmp_path / "out", epochs=8)
    steps = [step for step, metrics in heard if "loss" in metrics]
    assert steps == list(range(1, 65))
    assert {"rewards/accuracies", "rewards/margins", "nll_loss", "log_odds_ratio"} <= heard[0][1].keys()
    assert report.metrics["eval_rewards/accuracies"] == heard[-1][1]["eval_rewards/accuracies"]
    assert report.metrics["train_loss"] == pytest.approx(sum(m["loss"] for _, m in heard if "loss" in m) / 64)
    assert heard[63][1]["loss"] < heard[0][1]["loss"]
    assert not any("runtime" in name or "per_second" in name for name in report.metrics)


def test_evaluation_does_not_depend_on_the_batch_size(base: Path, pairs: list[PreferencePair], tmp_path: Path) -> None:
    found = [
        train(pairs[:8], pairs, base, tmp_path / "out", batch_size=size, gradient_accumulation=8 // size)[0].metrics
        for size in (1, 8)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_evaluations_on_the_way_are_reported_once_per_step(
    base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    _, heard = train(pairs, pairs[:4], base, tmp_path / "out", eval_steps=5)
    assert [step for step, metrics in heard if "eval_loss" in metrics] == [5, 10]


def test_over_long_pairs_are_dropped_whole_and_listed(base: Path, pairs: list[PreferencePair], tmp_path: Path) -> None:
    long = replace(pairs[0], pair_id="long", rejected="select " * 300)
    held_out = replace(pairs[1], pair_id="long-held-out", chosen_prompt=user("age " * 300))
    ended = replace(pairs[2], pair_id="ended", chosen="select<|end|>name")
    report, _ = train([*pairs[:8], long, ended], [*pairs[8:10], held_out], base, tmp_path / "out")
    without, _ = train(pairs[:8], pairs[8:10], base, tmp_path / "without")
    assert report == TrainingReport(without.metrics, ("long", "ended", "long-held-out"))
    assert digest_tree(tmp_path / "out") == digest_tree(tmp_path / "without")


def test_one_optimizer_step_under_a_warm_up_changes_the_weights(
    base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    report, _ = train(pairs[:8], [], base, tmp_path / "out", batch_size=8, warmup_ratio=0.1)
    assert report.metrics["train_steps"] == 1
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "out"))
    assert any(not torch.equal(weights, after[name]) for name, weights in before.items())


@pytest.mark.parametrize("count", [0, 1])
def test_no_usable_pair_is_one_line(count: int, base: Path, pairs: list[PreferencePair], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at least one pair") as caught:
        train(pairs[:count], [], base, tmp_path / "out", max_tokens=3)
    assert "\n" not in str(caught.value)


def test_a_diverged_training_is_one_line_and_leaves_no_checkpoint(
    pairs: list[PreferencePair], base: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in base.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], math.nan)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingError, match="must stay finite"):
        train(pairs, [], broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_result_is_written_over_an_older_one_atomically(
    base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stale.bin").write_bytes(b"old")
    train(pairs[:4], [], base, tmp_path / "out")
    assert not (tmp_path / "out" / "stale.bin").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
