"""The tokenizer gives text back exactly, and a name is the same token wherever it stands."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mats_sql.agents.messages import as_dicts, user
from mats_sql.lab import words
from mats_sql.lab.base import base_model_path
from mats_sql.lab.examples import PretrainExample, draw_examples
from mats_sql.lab.invention import invent
from mats_sql.lab.shards import tokenize_example
from mats_sql.lab.tokenizer import END, FORMATS, MARK, as_pretrained, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(corpus_texts: list[str]) -> Tokenizer:
    return train_tokenizer(iter(corpus_texts), 2600)


@pytest.fixture(scope="module")
def examples() -> list[PretrainExample]:
    return draw_examples(1, 0, 120)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters=MARK, exclude_categories=("Cs",))))
def test_any_text_without_the_mark_comes_back_exactly(tokenizer: Tokenizer, text: str) -> None:
    assert _round_trip(tokenizer, text) == text


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*FORMATS, *words.pretraining_words(), " ", ".", ", ", "_", "s", "7", "é", "\n"])).map(
        "".join
    )
)
def test_formats_and_words_in_any_order_come_back_exactly(tokenizer: Tokenizer, text: str) -> None:
    assert _round_trip(tokenizer, text) == text


def test_prompts_and_answers_come_back_exactly(tokenizer: Tokenizer, examples: list[PretrainExample]) -> None:
    texts = [text for example in examples for text in (example.messages[0].content, example.answer)]
    assert [text for text in texts if _round_trip(tokenizer, text) != text] == []


def test_every_word_of_the_lists_is_one_token_apart_from_a_final_s(tokenizer: Tokenizer) -> None:
    split = {word: tokenizer.encode(word).tokens for word in words.pretraining_words()}
    whole = {word: ([MARK + word], [MARK + word.removesuffix("s"), "s"]) for word in split}
    assert {word: tokens for word, tokens in split.items() if tokens not in whole[word]} == {}


@pytest.mark.parametrize(
    "text", ["singer.name", "of singer", "'singer'", "singers", "\nsinger", "singer_id", "(singer)"]
)
def test_a_name_is_the_same_token_wherever_it_stands(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.token_to_id(MARK + "singer") in tokenizer.encode(text).ids


@pytest.mark.parametrize("text", ["{}", "team.{}", "of {}", "'{}'", "\n{} | type", "({})"])
def test_a_twin_columns_name_is_one_token_wherever_it_stands(tokenizer: Tokenizer, text: str) -> None:
    tokens = {name: tokenizer.encode(text.format(name)).tokens for name in words.twin_names()}
    assert [name for name in tokens if MARK + name not in tokens[name]] == []


@pytest.mark.parametrize("text", ["price12", "price3", "xprice1", "price1x", "prices1", "jazz4", "credits", "T1"])
def test_what_only_resembles_a_twin_column_is_none(tokenizer: Tokenizer, text: str) -> None:
    twins = {tokenizer.token_to_id(MARK + name) for name in words.twin_names()}
    assert twins.isdisjoint(tokenizer.encode(text).ids)
    assert _round_trip(tokenizer, text) == text


@pytest.mark.parametrize("packaged", [False, True])
def test_a_word_that_only_benchmarks_have_falls_into_pieces_that_new_words_have(
    tokenizer: Tokenizer, packaged: bool
) -> None:
    used = Tokenizer.from_file(str(base_model_path() / "tokenizer.json")) if packaged else tokenizer
    rng = random.Random(1)
    new = (rng.choice((word, word.capitalize(), word.upper())) for word in (invent(rng) for _ in range(20_000)))
    seen = Counter(token for word in new for token in used.encode(word).tokens)
    pieces = {token for phrase in words.reserved_words() for token in used.encode(phrase).tokens}
    known = {MARK + word for phrase in words.pretraining_words() for word in phrase.split()}
    assert {piece for piece in pieces - known if piece.strip(MARK).isalpha() and not seen[piece]} == set()


def test_the_space_between_words_costs_nothing(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("List the name of every singer").ids) == 6


def test_a_number_is_one_token_per_digit(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("1984").ids) == 4


@pytest.mark.parametrize("text", FORMATS)
def test_a_format_string_is_one_token_and_ends_in_no_letter_or_digit(tokenizer: Tokenizer, text: str) -> None:
    assert len(tokenizer.encode(text).ids) == 1
    assert not text[-1].isalnum()


def test_prompts_are_short(tokenizer: Tokenizer, examples: list[PretrainExample]) -> None:
    lengths = [len(tokenizer.encode(example.messages[0].content).ids) for example in examples]
    assert sum(lengths) / len(lengths) < 200, lengths


def test_pretraining_ids_are_those_of_the_chat_template(tokenizer: Tokenizer, examples: list[PretrainExample]) -> None:
    wrapped = as_pretrained(tokenizer, 1024)
    for example in examples[:20]:
        made = tokenize_example(tokenizer, example.messages, example.answer)
        prompt = wrapped.apply_chat_template(as_dicts(example.messages), add_generation_prompt=True, return_dict=False)
        whole = wrapped.apply_chat_template(
            [*as_dicts(example.messages), {"role": "assistant", "content": example.answer}], return_dict=False
        )
        assert (made.ids[: made.prompt_tokens], made.ids) == (prompt, whole)


def test_a_role_marker_inside_a_message_is_what_a_user_of_transformers_expects(tokenizer: Tokenizer) -> None:
    wrapped = as_pretrained(tokenizer, 1024)
    ids = wrapped.apply_chat_template(as_dicts(user("hello")), add_generation_prompt=True, return_dict=False)
    assert wrapped.convert_ids_to_tokens(ids)[0] == "<|user|>"
    assert wrapped.convert_ids_to_tokens(ids)[-2:] == [END, "<|assistant|>"]


def _round_trip(tokenizer: Tokenizer, text: str) -> str:
    return str(tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False))
