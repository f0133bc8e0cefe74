from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.agents.messages import as_dicts, user
from mats_sql.errors import ModelError
from mats_sql.training.encoding import Encoded, encode_answers
from mats_sql.training.model_files import load_base, load_tokenizer

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), max_size=40)


@pytest.fixture(scope="module")
def tokenizer(base: Path):
    return load_tokenizer(base)


def encode(tokenizer, prompt: str, answer: str) -> Encoded:
    return encode_answers(tokenizer, [(user(prompt), answer)])[0]


@given(prompt=TEXT, answer=TEXT)
@settings(max_examples=100, deadline=None)
def test_the_whole_text_is_encoded_and_ends_in_exactly_one_end_of_sequence(tokenizer, prompt: str, answer: str) -> None:
    encoded = encode(tokenizer, prompt, answer)
    assert tokenizer.decode(encoded.ids) == f"<|user|>\n{prompt}\n<|assistant|>\n{answer}<|end|>"
    assert encoded.is_trainable(tokenizer.eos_token_id, 999)


@given(prompt=TEXT, answer=TEXT)
@settings(max_examples=100, deadline=None)
def test_the_answer_begins_at_the_first_token_that_reaches_past_the_prompt(tokenizer, prompt: str, answer: str) -> None:
    encoded = encode(tokenizer, prompt, answer)
    rendered = f"<|user|>\n{prompt}\n<|assistant|>\n"
    before = tokenizer.decode(encoded.ids[: encoded.answer_start])
    assert rendered.startswith(before.rstrip("\ufffd"))
    assert len(tokenizer.decode(encoded.ids[: encoded.answer_start + 1])) > len(rendered)


def test_a_token_that_spans_prompt_and_answer_counts_as_answer() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"a": 0, "b": 1, "ab": 2, "<e>": 3}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<e>")
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    assert encode(tokenizer, "aa", "bb") == Encoded(ids=(0, 2, 1, 3), answer_start=1)


def test_an_answer_that_already_ends_in_the_end_marker_gets_no_second_one(tokenizer) -> None:
    assert encode(tokenizer, "q", "select<|end|><|end|>") == encode(tokenizer, "q", "select")


def test_an_end_marker_inside_an_answer_is_noticed(tokenizer) -> None:
    assert not encode(tokenizer, "q", "select<|end|>age").is_trainable(tokenizer.eos_token_id, 999)


def test_an_answer_without_a_prompt_cannot_be_trained() -> None:
    assert not Encoded(ids=(5, 0), answer_start=0).is_trainable(0, 999)


def test_prompt_tokens_equal_what_an_engine_sends(tokenizer) -> None:
    encoded = encode(tokenizer, "table singer", "select name")
    sent = tokenizer.apply_chat_template(as_dicts(user("table singer")), add_generation_prompt=True)["input_ids"]
    assert list(encoded.ids[: encoded.answer_start]) == list(sent)


def test_tokens_and_mask_equal_trls_own_preparation_of_a_conversation(tokenizer) -> None:
    encoded = encode(tokenizer, "table singer", "select name")
    conversation = [*as_dicts(user("table singer")), {"role": "assistant", "content": "select name"}]
    assert list(encoded.ids) == list(tokenizer.apply_chat_template(conversation)["input_ids"])


def test_a_missing_base_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"base model must be .* checkpoint") as caught:
        load_tokenizer(tmp_path / "absent")
    assert "\n" not in str(caught.value)


def test_a_torn_base_model_is_one_line(tmp_path: Path, base: Path) -> None:
    for file in base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"base model must be .* checkpoint") as caught:
        load_base(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_chat_template_is_refused(tmp_path: Path, base: Path) -> None:
    from transformers import AutoTokenizer

    bare = AutoTokenizer.from_pretrained(base)
    bare.chat_template = None
    bare.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="a chat template"):
        load_tokenizer(tmp_path)
