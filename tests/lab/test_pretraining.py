"""The pretraining path on a budget of seconds: it learns, repeats itself and ends in a checkpoint anyone can load."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mats_sql.agents.messages import as_dicts, user
from mats_sql.config import PretrainSettings
from mats_sql.digests import digest_tree
from mats_sql.errors import ModelError
from mats_sql.lab.pretraining import PretrainReport, pretrain, step_count

pytestmark = pytest.mark.slow

SMALL = PretrainSettings(
    seed=3,
    vocabulary=1500,
    layers=1,
    width=32,
    heads=2,
    feed_forward=64,
    copy_steps=4,
    copy_tokens=8,
    examples=240,
    review_examples=400,
    batch_size=8,
    learning_rate=5e-3,
    review_learning_rate=5e-3,
    warmup_steps=4,
    processes=2,
    snapshot_examples=320,
)


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished pretraining."""

    folder: Path
    state: Path
    report: PretrainReport
    logged: list[tuple[int, dict[str, float]]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out, state = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("state")
    logged: list[tuple[int, dict[str, float]]] = []
    report = pretrain(out, SMALL, lambda step, metrics: logged.append((step, dict(metrics))), state)
    return Trained(out, state, report, logged)


@pytest.fixture
def state(trained: Trained, tmp_path: Path) -> Path:
    """What a training leaves that was stopped before its first checkpoint: a tokenizer, which takes long to make."""
    folder = tmp_path / "state"
    folder.mkdir()
    shutil.copy(trained.state / "tokenizer.json", folder)
    return folder


def test_the_loss_falls(trained: Trained) -> None:
    losses = [metrics["loss"] for _, metrics in trained.logged if "loss" in metrics]
    assert losses[-1] < losses[0] - 0.5, losses


def test_it_goes_on_from_a_base_model_with_its_tokenizer_and_sizes(trained: Trained, tmp_path: Path) -> None:
    logged: list[float] = []
    more = SMALL.model_copy(update={"seed": 4, "width": 64, "copy_steps": 0, "examples": 0, "review_examples": 80})
    report = pretrain(tmp_path / "on", more, lambda _, told: logged.append(told["loss"]), start=trained.folder)
    first = next(metrics["loss"] for _, metrics in trained.logged if "loss" in metrics)
    assert report.parameters == trained.report.parameters
    assert report.loss < first - 0.5
    same = [(folder / "tokenizer.json").read_bytes() for folder in (trained.folder, tmp_path / "on")]
    assert same[0] == same[1]
    assert digest_tree(tmp_path / "on") != digest_tree(trained.folder)


def test_a_start_that_no_pretraining_made_is_refused_in_one_line(trained: Trained, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained.folder, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "qwen2"}))
    with pytest.raises(ModelError, match=r"pretrain\.start must be .* but got .*other; give"):
        pretrain(tmp_path / "on", SMALL, start=other)


def test_the_checkpoint_loads_with_the_auto_classes_and_answers(
    trained: Trained,
) -> None:
    model, tokenizer = (kind.from_pretrained(trained.folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
    ids = tokenizer.apply_chat_template(
        as_dicts(user("hello")), add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    answer = model.generate(ids, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    assert answer.shape == (1, ids.shape[1] + 5)
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_the_saved_tokenizer_gives_text_back_exactly(trained: Trained) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained.folder)
    text = "Goal to select: singer.name\nTables to use: singer\nnaïve 'x'  y"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_a_stopped_pretraining_goes_on_and_ends_with_the_bytes_of_another_that_was_not(
    trained: Trained, tmp_path: Path
) -> None:
    settings = SMALL.model_copy(update={"checkpoint_steps": 10})

    def stop(step: int, _: Mapping[str, float]) -> None:
        if step >= 25:
            raise KeyboardInterrupt(step)

    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path / "stopped", settings, stop, tmp_path / "state")
    assert len(list((tmp_path / "state").glob("step-*"))) == 1
    steps: list[int] = []
    pretrain(tmp_path / "resumed", settings, lambda step, _: steps.append(step), tmp_path / "state")
    assert digest_tree(tmp_path / "resumed") == digest_tree(trained.folder)
    assert steps[-1] == step_count(SMALL)


def test_a_killed_command_leaves_no_process_behind(state: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "from pathlib import Path\nfrom mats_sql.config import PretrainSettings\n"
        "from mats_sql.lab.pretraining import pretrain\n"
        "import multiprocessing, sys\n"
        "def say(step, metrics):\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "if __name__ == '__main__':\n"
        f"    settings = PretrainSettings.model_validate_json({SMALL.model_dump_json()!r})\n"
        "    settings = settings.model_copy(update={'examples': 1_000_000})\n"
        "    pretrain(Path(sys.argv[1]), settings, say, Path(sys.argv[2]))\n"
    )
    line = [sys.executable, script, tmp_path / "out", state]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        children = [int(pid) for pid in command.stdout.readline().split()]
        command.kill()
    assert len(children) == SMALL.processes
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_snapshots_along_the_way_load_and_the_last_is_the_model(trained: Trained) -> None:
    folders = sorted((trained.state / "snapshots").iterdir())
    assert [folder.name for folder in folders] == ["0000320", "0000640"]
    assert digest_tree(folders[-1]) == digest_tree(trained.folder)
    AutoModelForCausalLM.from_pretrained(folders[0])


def test_the_report_has_the_last_losses_and_counts(trained: Trained) -> None:
    report, logged = trained.report, trained.logged
    assert report.loss == [metrics["loss"] for _, metrics in logged if "loss" in metrics][-1]
    assert report.copy_loss == [metrics["copy_loss"] for _, metrics in logged if "copy_loss" in metrics][-1]
    assert report.parameters == AutoModelForCausalLM.from_pretrained(trained.folder).num_parameters()
    assert report.steps == step_count(SMALL) == logged[-1][0] == 44


def test_every_process_has_a_say_in_an_update(state: Path, tmp_path: Path) -> None:
    one_step = SMALL.model_copy(
        update={"copy_steps": 0, "warmup_steps": 0, "examples": 8, "review_examples": 0, "processes": 1}
    )
    pretrain(tmp_path / "alone", one_step, state=state)
    pretrain(tmp_path / "together", one_step.model_copy(update={"examples": 16, "processes": 2}), state=state)
    alone, together = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "together"))
    assert {name for name in alone if torch.equal(alone[name], together[name])} == set()
