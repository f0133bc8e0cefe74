"""Tiny real checkpoints made on the spot: a byte-level BPE tokenizer with a chat template, Llama or Qwen2 weights."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mats_sql.agents.messages import user
from mats_sql.preference.pair import PreferencePair
from mats_sql.teaching.example import SftExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models this small gain nothing from a second core

TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] }}"
    "{{ '<|end|>' if m['role'] == 'assistant' else '\\n' }}{% endfor %}"
    "{{ '<|assistant|>\\n' if add_generation_prompt else '' }}"
)
CORPUS = [
    "select name from singer where age > 30 order by age desc limit 5",
    "table singer , columns = [ singer.name | type: text ; singer.age | type: integer ]",
    "SELECT. The query selects name. The question asks for the name. Conclude: correct.",
    "CONDITION. The query filters age. Conclude: incorrect.",
] * 20


@pytest.fixture(scope="package", autouse=True)
def settled() -> Iterator[None]:
    """Every trainer starts the garbage collector: let it not walk all that is imported, longer than a test trains."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny Llama checkpoint."""
    return write_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def base_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes a tiny checkpoint of an architecture."""
    return lambda architecture: write_tiny_base(tmp_path_factory.mktemp("base"), architecture=architecture)


@pytest.fixture(scope="session")
def pairs() -> list[PreferencePair]:
    """Return 40 pairs of different lengths; every fifth has two prompts, like the fixer's joint pairs."""
    return [_pair(index) for index in range(40)]


@pytest.fixture(scope="session")
def examples() -> list[SftExample]:
    """Return 40 examples of different lengths."""
    return [
        SftExample(f"e{index}", user(f"table singer {'age ' * (index % 11)}; name {index}"), f"select name {index % 7}")
        for index in range(40)
    ]


def _pair(index: int) -> PreferencePair:
    prompt = user(f"table singer , columns = [ {'singer.age ' * (index % 9 + 3)}] ; question {index}")
    other = user(prompt[0].content + " ; the query is wrong") if index % 5 == 0 else prompt
    chosen = f"select name from singer where age > {index}" + " limit 5" * (index % 3)
    rejected = f"select age {index % 4}" + " order by age" * (index % 4)
    return PreferencePair(f"p{index}", "val-sel", "indep", index, prompt, other, chosen, rejected, "c", "r")


def write_tiny_base(root: Path, *, architecture: str = "llama", vocabulary: int = 384, seed: int = 0) -> Path:
    """Write a tiny checkpoint of the architecture (``llama`` or ``qwen2``) below ``root`` and return its folder."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

    tokenizer = _tokenizer(vocabulary)
    config_class = LlamaConfig if architecture == "llama" else Qwen2Config
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=architecture == "qwen2",
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    folder = root / architecture
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = TEMPLATE
    return fast
