"""A checkpoint of a given shape with random weights: real files in Qwen2's layout, so that a path is tried without any.

Covered: ``Qwen2ForCausalLM`` in bfloat16 shards with their index, Qwen2's byte-level BPE trained on given texts, the
ChatML template, the end tokens that Qwen2.5's Instruct checkpoints list. Not covered: knowledge; it writes nonsense.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mats_sql.shapes.shape import ModelShape

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

PAD, TURN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_ML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, without the system message that Qwen2.5's own template adds where there is none."""

NORM = 4.0
"""The weights of the last norm, about those of trained checkpoints. At 1, as transformers begins, no hidden state gives
a token of a frozen, tied and random embedding more than a few percent, so that adapters could teach nothing.
"""

SHARDS = 2
"""Files that the weights are split into, about."""


def write_untrained(out: Path, shape: ModelShape, texts: Iterable[str], *, seed: int, device: str = "cpu") -> None:
    """Write a checkpoint of this shape into the folder ``out``; equal arguments give equal weights and tokens.

    The tokenizer learns from ``texts`` and has at most ``shape.vocabulary`` tokens; rows that they leave over stay
    unused, as in the published checkpoints. Weights are drawn on ``device``, as transformers initialises them; those of
    the last norm are :data:`NORM`.
    """
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar per written file says nothing: stages show what runs
    tokenizer = train_tokenizer(texts, shape.vocabulary, shape.context)
    model = random_qwen2(shape, seed=seed, dtype=torch.bfloat16, device=device)
    torch.nn.init.constant_(model.model.norm.weight, NORM)
    end, pad = tokenizer.convert_tokens_to_ids([END, PAD])
    model.config.eos_token_id, model.config.pad_token_id = end, pad
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = [end, pad], pad
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out, max_shard_size=2 * shape.parameters // SHARDS)
    tokenizer.save_pretrained(out)


def random_qwen2(shape: ModelShape, *, seed: int, dtype: torch.dtype, device: str = "cpu") -> Qwen2ForCausalLM:
    """Return a model of this shape with random weights, made where it is wanted."""
    import torch
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(seed)
    with torch.device(device):
        model = Qwen2ForCausalLM(qwen2_config(shape)).to(dtype)
    model.config.dtype = dtype
    return model


def qwen2_config(shape: ModelShape) -> Qwen2Config:
    """Return the ``config.json`` of this shape in Qwen2's layout. Raises :class:`ValueError` for a shape it cannot be.

    Qwen2's heads share its width, and its queries, keys and values have a bias.
    """
    from transformers import Qwen2Config

    if shape.heads * shape.head_size != shape.width or not shape.qkv_bias or shape.heads % shape.key_heads:
        raise ValueError(
            f"Qwen2's width must be heads x head size, its heads a multiple of its key heads, with biases: {shape}"
        )
    return Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        rope_theta=1_000_000.0,
        rms_norm_eps=1e-6,
        bos_token_id=None,
    )


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> PreTrainedTokenizerBase:
    """Return Qwen2's tokenizer (its normaliser, its pieces, bytes beneath) with merges learned from ``texts``."""
    from transformers import Qwen2Tokenizer

    learned = Qwen2Tokenizer().train_new_from_iterator(
        texts, vocab_size=vocabulary, new_special_tokens=[TURN, END], show_progress=False
    )
    learned.eos_token, learned.pad_token = END, PAD
    learned.model_max_length = context
    learned.chat_template = CHAT_ML
    return learned
