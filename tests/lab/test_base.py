"""The packaged base model: small, loadable, and trained on the agents' formats."""

from __future__ import annotations

from transformers import AutoModelForCausalLM, AutoTokenizer

from mats_sql.lab.base import base_model_path


def test_the_package_holds_a_small_base_model() -> None:
    path = base_model_path()
    model = AutoModelForCausalLM.from_pretrained(path)
    assert model.config.model_type in ("llama", "qwen2")
    assert sum(weight.numel() for weight in model.parameters()) <= 5_000_000
    assert (path / "model.safetensors").stat().st_size <= 10_000_000


def test_its_tokenizer_has_a_chat_template_an_end_and_a_padding_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model_path())
    assert tokenizer.chat_template
    assert tokenizer.eos_token != tokenizer.pad_token
