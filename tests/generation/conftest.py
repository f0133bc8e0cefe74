"""Tiny checkpoints made on the spot: random weights, a small BPE tokenizer, a chat template."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from mats_sql.agents.messages import ChatMessage, Messages, as_dicts
from mats_sql.config import GenerationSettings
from mats_sql.generation.draws import Draw
from mats_sql.generation.engine import Sampling
from mats_sql.generation.transformers_engine import TransformersEngine
from tests.chat_server import ChatServer, reply, serving

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL_TOKENS = ["<pad>", "<s>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
SENTENCES = [
    "which schools in Alameda have more than 500 students",
    "select name from schools where county = 'Alameda' and students > 500 order by name limit 10",
    "Conclude: correct. Conclude: incorrect. yes no",
    "the query counts rows but the question asks for the average of the column",
]


def make_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on a few sentences and save it with a chat template."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet)
    core.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>", chat_template=CHAT_TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_llama(folder: Path) -> Path:
    """Save a two-layer Llama with grouped-query attention and weights large enough for peaked distributions."""
    tokenizer = make_tokenizer(folder)
    torch.manual_seed(6)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,  # the smallest that vLLM computes
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def make_qwen2(folder: Path) -> Path:
    """Save a two-layer Qwen2 with multi-head attention and tied embeddings."""
    tokenizer = make_tokenizer(folder)
    torch.manual_seed(2)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a stand-in for vLLM on the import path, where the real one is not installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "stand_in"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama checkpoint."""
    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2 checkpoint."""
    return make_qwen2(tmp_path_factory.mktemp("qwen2"))


class ModelAnswers:
    """Answers chat requests with a checkpoint."""

    def __init__(self, checkpoint: Path) -> None:
        self.engine = TransformersEngine(GenerationSettings(device="cpu"), checkpoint)
        self.reference = Reference(checkpoint)

    def __call__(self, body: dict[str, Any]) -> tuple[int, object]:
        """Return status and document for one chat request."""
        messages = tuple(ChatMessage(turn["role"], turn["content"]) for turn in body["messages"])
        if len(self.reference.prompt(messages)) > 400:
            return 400, {"error": {"message": "This model's maximum context length is 400 tokens."}}
        sampling = Sampling(temperature=body["temperature"], max_new_tokens=body["max_tokens"])
        [(_, completion)] = self.engine._complete([Draw(messages, body.get("seed"))], sampling)
        choice: dict[str, Any] = {}
        if body.get("logprobs"):
            logprobs = self.reference.first_logprobs(messages).topk(body["top_logprobs"])
            listed = [
                {"token": self.reference.tokenizer.decode([token]), "logprob": logprob}
                for logprob, token in zip(logprobs.values.tolist(), logprobs.indices.tolist(), strict=True)
            ]
            choice["logprobs"] = {"content": [{"top_logprobs": listed}]}
        return reply(completion.text, completion.token_count, finished=completion.finished, **choice)


class Reference:
    """The checkpoint as transformers itself runs it: what engines are compared with."""

    def __init__(self, checkpoint: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint)
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    def prompt(self, messages: Messages) -> list[int]:
        """Return a prompt's tokens as transformers makes them."""
        ids = self.tokenizer.apply_chat_template(as_dicts(messages), add_generation_prompt=True, return_dict=True)
        return list(ids["input_ids"])

    @torch.inference_mode()
    def first_logprobs(self, messages: Messages, temperature: float = 1.0) -> torch.Tensor:
        """Return the first answer token's log-probabilities [V]."""
        logits = self.model(torch.tensor([self.prompt(messages)])).logits[0, -1].double()
        return torch.log_softmax(logits / temperature, dim=-1)

    @torch.inference_mode()
    def logprob(self, messages: Messages, answer: str) -> float:
        """Return an answer's log-probability by one plain forward pass."""
        prompt = self.prompt(messages)
        ending = self.tokenizer.encode(answer, add_special_tokens=False)
        logits = self.model(torch.tensor([prompt + ending])).logits[0, len(prompt) - 1 : -1].double()
        return float(torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(ending)[:, None]).sum())

    def greedy(self, messages: Messages, max_new_tokens: int) -> str:
        """Return what ``model.generate`` answers."""
        ids = torch.tensor([self.prompt(messages)])
        output = self.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=max_new_tokens
        )
        return str(self.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


@pytest.fixture(scope="session")
def chat_server(llama: Path) -> Iterator[ChatServer]:
    """A running local server over the tiny Llama."""
    with serving(ModelAnswers(llama)) as server:
        yield server


@pytest.fixture(scope="session")
def reference() -> Callable[[Path], Reference]:
    """Load a checkpoint the plain way, once."""
    return functools.lru_cache(maxsize=None)(Reference)
