"""The pretraining path on a budget of seconds: it learns, repeats itself and ends in a checkpoint anyone can load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mats_sql.agents.messages import as_dicts, user
from mats_sql.config import PretrainSettings
from mats_sql.digests import digest_tree
from mats_sql.lab.pretraining import pretrain

SMALL = PretrainSettings(
    seed=3,
    vocabulary=1500,
    layers=1,
    width=32,
    heads=2,
    feed_forward=64,
    copy_steps=4,
    copy_tokens=8,
    examples=640,
    batch_size=8,
    learning_rate=5e-3,
    warmup_steps=4,
    processes=2,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]]]:
    out = tmp_path_factory.mktemp("base")
    logged: list[dict[str, float]] = []
    pretrain(out, SMALL, lambda step, metrics: logged.append({"step": step, **metrics}))
    return out, logged


def test_the_loss_falls(trained: tuple[Path, list[dict[str, float]]]) -> None:
    losses = [metrics["loss"] for metrics in trained[1] if "loss" in metrics]
    assert losses[-1] < losses[0] - 0.5, losses


def test_the_checkpoint_loads_with_the_auto_classes_and_answers(
    trained: tuple[Path, list[dict[str, float]]],
) -> None:
    model, tokenizer = (kind.from_pretrained(trained[0]) for kind in (AutoModelForCausalLM, AutoTokenizer))
    ids = tokenizer.apply_chat_template(
        as_dicts(user("hello")), add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    answer = model.generate(ids, max_new_tokens=5, do_sample=False)
    assert answer.shape[0] == 1
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_the_saved_tokenizer_gives_text_back_exactly(trained: tuple[Path, list[dict[str, float]]]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained[0])
    text = "Goal to select: singer.name\nTables to use: singer\nnaïve 'x'  y"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_equal_settings_give_equal_bytes(trained: tuple[Path, list[dict[str, float]]], tmp_path: Path) -> None:
    pretrain(tmp_path, SMALL)
    assert digest_tree(tmp_path) == digest_tree(trained[0])


def test_pretraining_leaves_the_thread_count_as_it_was(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    report = pretrain(tmp_path, SMALL.model_copy(update={"examples": 16, "copy_steps": 1, "processes": 1}))
    assert torch.get_num_threads() == before
    assert report.steps == 3
    assert report.parameters > 10_000
