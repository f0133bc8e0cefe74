"""From messages to tokens and back, the same way for training and for every engine that runs a checkpoint itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerBase

from mats_sql.agents import Messages, as_dicts
from mats_sql.errors import EngineError, ModelError, one_line
from mats_sql.generation.checkpoint import no_chat_template
from mats_sql.layers import base_of

_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")


class ChatTokens:
    """A checkpoint's tokenizer with its chat template."""

    def __init__(self, model: Path | str) -> None:
        """Load it. Raises :class:`ModelError` if it is missing or has no chat template."""
        folder = base_of(Path(model))
        self._tokenizer = _load(folder)
        self._listed_stops = _listed_stops(folder / "generation_config.json")

    @property
    def stop_ids(self) -> frozenset[int]:
        """Every token that ends an answer: the checkpoint's, the tokenizer's and well-known end-of-turn marks."""
        vocabulary = self._tokenizer.get_vocab()
        marks = {vocabulary[mark] for mark in _TURN_ENDS if mark in vocabulary}
        end = self._tokenizer.eos_token_id
        return frozenset(marks | self._listed_stops | ({end} if isinstance(end, int) else set()))

    def prompts(self, prompts: Sequence[Messages]) -> list[tuple[int, ...]]:
        """Return each prompt's tokens, up to where the assistant's answer begins."""
        return self._encode([self._render(messages) for messages in prompts])

    def choices(self, messages: Messages, choices: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the tokens that each choice adds to a prompt, tokenised in context as in training.

        What precedes an answer is the chat template's tail, the same for every prompt: one prompt stands for all.
        """
        text = self._render(messages)
        prompt, *wholes = self._encode([text, *(text + choice for choice in choices)])
        endings = [
            whole[len(prompt) :] if whole[: len(prompt)] == prompt else alone
            for whole, alone in zip(wholes, self._encode(choices), strict=True)
        ]
        if not all(endings):
            raise EngineError(f"a choice must have at least one token, but got {tuple(choices)!r}; give each a text")
        return endings

    def text(self, tokens: Sequence[int]) -> str:
        """Return an answer's text, without special tokens."""
        text = self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def _render(self, messages: Messages) -> str:
        return render_prompt(self._tokenizer, messages)

    def _encode(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        if not texts:
            return []
        return [tuple(ids) for ids in tokenize(self._tokenizer, texts)["input_ids"]]


def render_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str:
    """Return the text that a model reads before it answers: what every engine sends and what training shows."""
    text = tokenizer.apply_chat_template(as_dicts(messages), tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    return text


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, offsets: bool = False) -> BatchEncoding:
    """Return the ids of rendered texts, with each token's characters where ``offsets`` are asked for."""
    # The template already writes the begin-of-text token where there is one.
    return tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=offsets)


def _load(model: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(model))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"a model's tokenizer must load, but {model}: {one_line(error)}; mend the files") from None
    if not tokenizer.chat_template:
        raise no_chat_template(model)
    return tokenizer


def _listed_stops(path: Path) -> set[int]:
    if not path.is_file():
        return set()
    try:
        listed = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"generation_config.json must be a JSON object, but {path}: {one_line(error)}") from None
    return {token for token in (listed if isinstance(listed, list) else [listed]) if isinstance(token, int)}
