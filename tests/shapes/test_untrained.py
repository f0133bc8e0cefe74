"""A checkpoint of a shape with random weights is whole, has the shape, speaks ChatML and is the same each time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mats_sql.agents.messages import user
from mats_sql.digests import digest_tree
from mats_sql.doctor.checkpoints import look_at_checkpoint
from mats_sql.generation.chat_tokens import ChatTokens
from mats_sql.shapes.shape import ModelShape, shape_of
from mats_sql.shapes.untrained import NORM, qwen2_config, write_untrained

SHAPE = ModelShape(
    width=32,
    feed_forward=48,
    layers=2,
    heads=4,
    key_heads=2,
    head_size=8,
    vocabulary=600,
    tied=True,
    context=32_768,
    qkv_bias=True,
    file_bytes_per_weight=2,
)
TEXTS = ["SELECT hero_name FROM superhero WHERE id = 12", "table superhero , columns = [ superhero.id ]"] * 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrained") / "model"
    write_untrained(folder, SHAPE, TEXTS, seed=3)
    return folder


def test_it_has_the_shape_and_nothing_is_missing(made: Path) -> None:
    found = look_at_checkpoint(str(made))
    assert (found.problems, found.shape) == ((), SHAPE)
    assert len(list(made.glob("*.safetensors"))) > 1
    norms = [load_file(shard).get("model.norm.weight") for shard in made.glob("*.safetensors")]
    assert [set(norm.tolist()) for norm in norms if norm is not None] == [{NORM}]
    assert json.loads((made / "config.json").read_text())["architectures"] == ["Qwen2ForCausalLM"]


def test_a_chat_is_chatml_and_ends_where_qwens_ends(made: Path) -> None:
    tokens = ChatTokens(made)
    assert tokens._render(user("who?")) == "<|im_start|>user\nwho?<|im_end|>\n<|im_start|>assistant\n"
    assert len(tokens.stop_ids) == 2
    (prompt,) = tokens.prompts([user("SELECT é")])
    assert tokens.text(prompt) == "user\nSELECT é\nassistant\n"


def test_equal_arguments_give_equal_files_and_another_seed_others(made: Path, tmp_path: Path) -> None:
    for name, seed in (("again", 3), ("other", 4)):
        write_untrained(tmp_path / name, SHAPE, TEXTS, seed=seed)
    assert digest_tree(tmp_path / "again") == digest_tree(made) != digest_tree(tmp_path / "other")


def test_a_shape_that_qwen2_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="Qwen2's width"):
        qwen2_config(replace(SHAPE, head_size=16))
    assert shape_of(qwen2_config(SHAPE).to_dict()) == replace(SHAPE, file_bytes_per_weight=4)
