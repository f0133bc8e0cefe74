"""Pretraining examples as token ids, shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Tokenizer

from mats_sql.agents import Messages
from mats_sql.lab import words
from mats_sql.lab.examples import Course, draw_examples
from mats_sql.lab.tokenizer import ASSISTANT, END

SHARD_EXAMPLES = 1024
_CORPUS_SHARD = -1
_CORPUS_EXAMPLES = 2000


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """Prompt and answer as one sequence of ids; the answer, end token included, begins at ``prompt_tokens``."""

    ids: list[int]
    prompt_tokens: int


def token_shards(
    tokenizer: Tokenizer, seed: int, course: Course, first: int, stride: int
) -> Iterator[list[TokenizedExample]]:
    """Yield a course's shards without end: the ``first``, and every ``stride``-th after it."""
    shard = first
    while True:
        examples = draw_examples(seed, shard, SHARD_EXAMPLES, course)
        yield [tokenize_example(tokenizer, example.messages, example.answer) for example in examples]
        shard += stride


def corpus(seed: int) -> Iterator[str]:
    """Yield the texts the tokenizer learns from: examples of every task, and every word of the lists many times."""
    for example in draw_examples(seed, _CORPUS_SHARD, _CORPUS_EXAMPLES):
        yield from (example.messages[0].content, example.answer)
    yield from [" ".join(words.pretraining_words())] * 60


def tokenize_example(tokenizer: Tokenizer, messages: Messages, answer: str) -> TokenizedExample:
    """Return the ids of a conversation exactly as the chat template renders it."""
    prompt = "".join(f"<|{message.role}|>{message.content}{END}" for message in messages) + ASSISTANT
    prompt_ids: list[int] = tokenizer.encode(prompt).ids
    return TokenizedExample(prompt_ids + tokenizer.encode(answer + END).ids, len(prompt_ids))
