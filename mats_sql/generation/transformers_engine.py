"""The default engine: transformers models in this process, with our own decode loop (:mod:`.decoding`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from mats_sql.agents.messages import Messages, as_dicts
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError, ModelError
from mats_sql.generation.branched_cache import register_shared_prompt_attention
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.decoding import Branch, Decoder, Limits, Prompt
from mats_sql.generation.draws import Draw, DrawingEngine
from mats_sql.generation.engine import Completion, Sampling

_log = logging.getLogger(__name__)
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")


class TransformersEngine(DrawingEngine):
    """Draw from one checkpoint of any decoder-only model whose cache is keys and values.

    A prompt longer than ``max_prompt_tokens`` (or than the model's context) is data that failed, not an error that ends
    a run: its completions are empty and unfinished, its choices equally likely, and ``overlong_prompts`` counts it.
    Nothing is ever truncated.
    """

    def __init__(self, settings: GenerationSettings, model: Path | str, cache: CompletionCache | None = None) -> None:
        """Load model and tokenizer. Raises :class:`ModelError` if the checkpoint is missing or has no chat template."""
        super().__init__(cache)
        self.overlong_prompts = 0
        self._tokenizer = load_tokenizer(model)
        self._model = _load_model(settings, model)
        context = getattr(self._model.config, "max_position_embeddings", None) or settings.max_prompt_tokens + 1
        self._longest_prompt = min(settings.max_prompt_tokens, context - 1)
        self._decoder = Decoder(
            self._model,
            sorted(_stop_ids(self._model, self._tokenizer)),
            Limits(settings.batch_tokens, settings.decode_rows),
            shared=_share_prompts(self._model),
        )

    def close(self) -> None:
        """Free the model's memory and close the cache."""
        super().close()
        del self._model, self._decoder
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _complete(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion]]:
        by_prompt: dict[Messages, list[int]] = {}
        for key, draw in enumerate(draws):
            by_prompt.setdefault(draw.messages, []).append(key)
        prompts = []
        for keys, tokens in zip(by_prompt.values(), self._tokenize(list(by_prompt)), strict=True):
            if self._fits(tokens):
                prompts.append(Prompt(tokens, tuple(Branch(key, draws[key].seed) for key in keys)))
            else:
                yield from ((draws[key], Completion("", 0, finished=False)) for key in keys)
        for answer in self._decoder.decode(prompts, sampling.temperature, sampling.max_new_tokens):
            text = self._tokenizer.decode(answer.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            assert isinstance(text, str)
            yield draws[answer.key], Completion(text, len(answer.tokens), answer.finished)

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...]]]:
        tokens = self._tokenize(prompts)
        fitting = [index for index, ids in enumerate(tokens) if self._fits(ids)]
        logprobs = torch.zeros(len(prompts), len(choices), dtype=torch.float64)
        if fitting:
            texts = [self._choice_tokens(prompts[fitting[0]], choice) for choice in choices]
            branches = range(len(choices))
            asked = [
                Prompt(tokens[index], tuple(Branch(index * len(choices) + choice, choice) for choice in branches))
                for index in fitting
            ]
            for key, logprob in self._decoder.score(asked, texts):
                logprobs.view(-1)[key] = logprob
        for messages, row in zip(prompts, torch.log_softmax(logprobs, dim=1).tolist(), strict=True):
            yield messages, tuple(row)

    def _render(self, messages: Messages) -> str:
        text = self._tokenizer.apply_chat_template(as_dicts(messages), tokenize=False, add_generation_prompt=True)
        assert isinstance(text, str)
        return text

    def _tokenize(self, prompts: Sequence[Messages]) -> list[tuple[int, ...]]:
        if not prompts:
            return []
        # The template already writes the begin-of-text token where there is one.
        encoded = self._tokenizer([self._render(messages) for messages in prompts], add_special_tokens=False)
        return [tuple(ids) for ids in encoded["input_ids"]]

    def _fits(self, tokens: tuple[int, ...]) -> bool:
        if len(tokens) <= self._longest_prompt:
            return True
        self.overlong_prompts += 1
        _log.warning("a prompt of %d tokens exceeds %d: left unanswered", len(tokens), self._longest_prompt)
        return False

    def _choice_tokens(self, messages: Messages, choice: str) -> list[int]:
        """Return the tokens that ``choice`` adds to a prompt, as in training: tokenised in context.

        What precedes an answer is the chat template's tail, the same for every prompt, so one prompt stands for all.
        """
        prompt = self._render(messages)
        alone, before, whole = self._tokenizer([choice, prompt, prompt + choice], add_special_tokens=False)["input_ids"]
        tokens = whole[len(before) :] if whole[: len(before)] == before else alone
        if not tokens:
            raise EngineError(f"a choice must have at least one token, but got {choice!r}; give it a text")
        return list(tokens)


def load_tokenizer(model: Path | str) -> PreTrainedTokenizerBase:
    """Return a checkpoint's tokenizer. Raises :class:`ModelError` if it is missing or has no chat template."""
    if isinstance(model, Path) and not model.is_dir():
        raise ModelError(f"a model must be a checkpoint folder, but {model} does not exist; give another path")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(model))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"the tokenizer of {model} must be loadable, but: {_line(error)}; mend the checkpoint"
        ) from None
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer must have a chat template, but {model} has none; add chat_template.jinja to it"
        )
    return tokenizer


def resolve_device(device: str) -> torch.device:
    """Return the device that ``auto`` or a torch name means. Raises :class:`EngineError` if torch cannot use it."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        message = f"generation.device must be usable, but {device!r}: {_line(error)}; use auto or cpu"
        raise EngineError(message) from None


def _load_model(settings: GenerationSettings, model: Path | str) -> PreTrainedModel:
    device = resolve_device(settings.device)
    try:
        loaded = AutoModelForCausalLM.from_pretrained(str(model), dtype=getattr(torch, settings.dtype))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the model {model} must be loadable, but: {_line(error)}; mend the checkpoint") from None
    assert isinstance(loaded, PreTrainedModel)
    layers = getattr(loaded.config, "layer_types", None) or ["full_attention"]
    if set(layers) != {"full_attention"}:
        found = ", ".join(sorted(set(layers)))
        raise ModelError(
            f"the transformers engine needs full attention in every layer, but {model} has {found}; use vllm"
        )
    return loaded.to(device).eval()


def _share_prompts(model: PreTrainedModel) -> bool:
    """Select the shared-prompt attention where the model takes one; say whether it did."""
    soft_capped = getattr(model.config, "attn_logit_softcapping", None) is not None
    if not model._supports_attention_backend or soft_capped:
        return False
    model.set_attn_implementation(register_shared_prompt_attention())
    return True


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return every token that ends an answer: the model's, the tokenizer's, and known end-of-turn marks."""
    ends: set[int] = set()
    for source in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        ends.update(source if isinstance(source, list) else [source] if isinstance(source, int) else [])
    vocabulary = tokenizer.get_vocab()
    ends.update(vocabulary[mark] for mark in _TURN_ENDS if mark in vocabulary)
    return ends


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
