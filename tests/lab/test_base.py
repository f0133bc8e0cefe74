"""The packaged base model: small, loadable, and trained on the agents' formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mats_sql.agents.messages import as_dicts
from mats_sql.agents.planner import parse_plan
from mats_sql.config import PretrainSettings
from mats_sql.errors import ModelError
from mats_sql.lab import base
from mats_sql.lab.base import base_model_path
from mats_sql.lab.examples import ExampleKind, draw_examples


def test_the_package_holds_a_small_base_model_of_the_default_settings() -> None:
    path, settings = base_model_path(), PretrainSettings()
    model = AutoModelForCausalLM.from_pretrained(path)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.num_parameters() <= 5_000_000
    assert (path / "model.safetensors").stat().st_size <= 10_000_000
    config = json.loads((path / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"]) == (settings.layers, settings.width)


def test_its_tokenizer_has_a_chat_template_an_end_and_a_padding_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model_path())
    assert tokenizer.chat_template
    assert None not in (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert tokenizer.eos_token_id != tokenizer.pad_token_id


def test_it_writes_plans_with_sql_and_ends_them() -> None:
    tokenizer, model = (kind.from_pretrained(base_model_path()) for kind in (AutoTokenizer, AutoModelForCausalLM))
    unseen = [example for example in draw_examples(1, 0, 60) if example.kind is ExampleKind.PLAN][:10]
    plans = []
    for example in unseen:
        ids = tokenizer.apply_chat_template(
            as_dicts(example.messages), add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        written = model.generate(ids, max_new_tokens=150, do_sample=False)[0, ids.shape[1] :]
        if written[-1] == tokenizer.eos_token_id:
            plans.append(parse_plan(tokenizer.decode(written[:-1])).sql or "")
    assert sum(sql.startswith("SELECT ") for sql in plans) >= 8, plans


def test_a_package_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.resources, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="must hold the lab's base model"):
        base_model_path()
