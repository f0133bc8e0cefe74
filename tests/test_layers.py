"""Checkpoints in layers: every reader sees what merging gives, and the disk holds each base once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from mats_sql.agents import user
from mats_sql.config import GenerationSettings
from mats_sql.doctor.checkpoints import look_at_checkpoint
from mats_sql.errors import ModelError
from mats_sql.generation import Request, Sampling, open_engine
from mats_sql.lab.base import base_model_path
from mats_sql.layers import adapters_of, base_of, begin_layer, load_weights, merged, write_merged
from tests.layered import on_top

PROMPTS = [Request(f"p{index}", user(f"How many items cost {index}?")) for index in range(4)]


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """The lab's base model with two adapters, one upon the other."""
    return on_top(on_top(base_model_path(), tmp_path / "one", 1), tmp_path / "two", 2)


def answers(checkpoint: Path) -> list[str]:
    engine = open_engine(GenerationSettings(), checkpoint)
    drawn = engine.generate(PROMPTS, Sampling(n=1, temperature=0.0, max_new_tokens=12))
    engine.close()
    return [completion.text for (completion,) in drawn]


def test_layers_answer_as_their_merged_copy_does(layered: Path, tmp_path: Path) -> None:
    write_merged(layered, tmp_path / "merged")
    whole = load_weights(tmp_path / "merged", torch.float32).state_dict()
    torch.testing.assert_close(load_weights(layered, torch.float32).state_dict(), whole, rtol=0, atol=0)
    found = answers(layered)
    assert found == answers(tmp_path / "merged")
    assert found != answers(tmp_path / "one")
    assert found != answers(base_model_path())


def test_a_copied_folder_of_layers_is_whole(layered: Path, tmp_path: Path) -> None:
    before = answers(layered)
    copied = Path(shutil.copytree(layered, tmp_path / "elsewhere"))
    shutil.rmtree(layered)
    shutil.rmtree(tmp_path / "one")
    assert answers(copied) == before


def test_layers_hold_their_bases_weights_as_links(layered: Path) -> None:
    assert (base_of(layered) / "model.safetensors").samefile(base_model_path() / "model.safetensors")
    first, _ = adapters_of(layered)
    assert (first / "adapter_model.safetensors").stat().st_nlink == 2


def test_weights_of_another_format_are_not_taken_along(tmp_path: Path) -> None:
    below = Path(shutil.copytree(base_model_path(), tmp_path / "base"))
    (below / "original").mkdir()
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json", "original/consolidated.00.pth", ".gitattributes"):
        (below / name).write_bytes(b"much")
    (below / "model.safetensors.index.json").write_text("{}")
    top = tmp_path / "top"
    top.mkdir()
    begin_layer(top, below)
    kept = {path.name for path in base_of(top).iterdir()}
    assert kept == {path.name for path in base_model_path().iterdir()} | {"model.safetensors.index.json"}


def test_a_merged_copy_for_those_who_read_no_layers_is_gone_afterwards(layered: Path) -> None:
    with merged(layered) as folder:
        assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert not Path(folder).exists()
    with merged(base_model_path()) as folder:
        assert folder == base_model_path()


def test_layers_may_be_the_checkpoint_that_an_experiment_begins_with(layered: Path) -> None:
    found = look_at_checkpoint(str(layered))
    assert found.problems == ()
    assert found.shape == look_at_checkpoint("lab").shape


def test_an_adapter_without_its_weights_is_told_before_anything_is_loaded(layered: Path) -> None:
    (adapters_of(layered)[0] / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"a model's adapter must load, but .*adapters/1 is not whole"):
        open_engine(GenerationSettings(), layered)
