"""Prompts and answers as token ids: tokenised once, as a whole, the answer found by character offsets.

Tokenising the two apart would shift the boundary wherever a token spans it; a spanning token counts as answer, because
the model cannot have read it before it starts to answer. The answer ends in exactly one end-of-sequence token, and
nothing follows it: that is where every engine stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mats_sql.agents import Messages
from mats_sql.generation import render_prompt, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt with its answer; ``ids[answer_start:]`` is the answer with its end-of-sequence token."""

    ids: tuple[int, ...]
    answer_start: int

    def is_trainable(self, end_id: int, max_tokens: int) -> bool:
        """Return whether it fits, has a prompt to predict from, and its answer's only end token is the last one."""
        if len(self.ids) > max_tokens or self.answer_start == 0:
            return False
        return self.ids[self.answer_start :].count(end_id) == 1 and self.ids[-1] == end_id


def blank(end_id: int) -> Encoded:
    """Return what has no answer and counts for nothing: it fills up the last step of processes that share one."""
    return Encoded((end_id,), 1)


def encode_answers(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[tuple[Messages, str]]) -> list[Encoded]:
    """Return each (prompt, answer) as ids, in order, in one call of the tokenizer.

    The prompt is rendered by the code that renders it for an engine.
    """
    if not conversations:
        return []
    prompts = [render_prompt(tokenizer, messages) for messages, _ in conversations]
    texts = [
        prompt + _without_end(answer, tokenizer.eos_token) + tokenizer.eos_token
        for prompt, (_, answer) in zip(prompts, conversations, strict=True)
    ]
    tokens = tokenize(tokenizer, texts, offsets=True)
    return [
        Encoded(tuple(ids), _answer_start(offsets, len(prompt)))
        for ids, offsets, prompt in zip(tokens["input_ids"], tokens["offset_mapping"], prompts, strict=True)
    ]


def _without_end(answer: str, end: str) -> str:
    while answer.endswith(end):
        answer = answer.removesuffix(end)
    return answer


def _answer_start(offsets: Sequence[tuple[int, int]], boundary: int) -> int:
    return next(index for index, (_, end) in enumerate(offsets) if end > boundary)
