"""How much memory a stage needs, estimated from a model's shape and the settings; docs/doctor.md has the formulas.

Estimates, not measurements: activations follow the tensors that autograd keeps in transformers' Llama and Qwen2 layers
(a test counts them), every example is taken to be as long as the settings allow. Not covered: fragmentation, sliding
windows.
"""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.config import LoraSettings, TrainerSettings
from mats_sql.shapes import ModelShape

GIB = 2**30
FULL, HALF, OPTIMIZER = 4, 2, 8
"""Bytes of a float32, of a 16-bit float, and of AdamW's two moments, per number."""
LINEAR_MODULES = 7
"""Linear modules of a layer."""
CUDA_CONTEXT = GIB // 2


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by what they are for."""

    parts: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(count for _, count in self.parts)

    def told(self) -> str:
        """Return the parts in GiB, those that count."""
        return ", ".join(f"{name} {count / GIB:.1f}" for name, count in self.parts if count >= GIB / 20)


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a stage draws: answers and their prompts in flight, and the tokens of each at most."""

    answers: int
    answer_tokens: int
    prompts: int
    prompt_tokens: int
    prefill_tokens: int
    bytes_per_number: int


def training_memory(shape: ModelShape, settings: TrainerSettings, tokens: int, *, card: bool, parts: int = 1) -> Memory:
    """Return the memory of an optimizer step whose micro-batch has ``tokens`` tokens.

    Trained weights are float32 whatever the files hold; on a card the computation is bfloat16, so that each weight has
    a bfloat16 copy, unless ``precision`` asks for float32. Frozen weights beneath adapters are bfloat16 themselves. Of
    a model that is sharded in ``parts``, each process holds one of its weights, gradients and moments.
    """
    half = card if settings.precision == "auto" else settings.precision == "bfloat16"
    adapters = _adapter_parameters(shape, settings.lora)
    trained = adapters or shape.parameters
    frozen = _frozen_bytes(settings.lora, half=half and card) if adapters else FULL
    return Memory(
        (
            ("weights", (frozen * shape.parameters + FULL * adapters) // parts),
            ("16-bit copies", _copies(shape, settings, parts) if half and frozen == FULL else 0),
            ("gradients", FULL * trained // parts),
            ("optimizer", OPTIMIZER * trained // parts),
            ("activations", _activations(shape, settings, tokens, HALF if half else FULL)),
            ("logits", _scoring(shape, settings, HALF if half else FULL)),
            ("CUDA", CUDA_CONTEXT if card else 0),
        )
    )


def layer_activations(shape: ModelShape, size: int, lora: LoraSettings) -> int:
    """Return the bytes per token that one layer keeps for its backward pass; a number computed with takes ``size``.

    Each of the two norms keeps its input in float32, and its normalised input where its weights are trained. Each
    linear module keeps its own 16-bit copy of its input; in float32 they share one. Attention keeps queries, keys and
    values (repeated to as many heads, as under a mask) and its output; the feed-forward part gate, activated gate, up
    and their product. An adapter keeps what is between its two matrices, and its input where that has dropout.
    """
    queries = shape.heads * shape.head_size
    norms = 2 * FULL * shape.width * (1 if lora.rank else 2)
    inputs = size * shape.width * (5 if size == HALF else 2)
    attention = size * 4 * queries
    feed_forward = size * 4 * shape.feed_forward
    adapted = size * LINEAR_MODULES * lora.rank
    dropped = size * (5 * shape.width + queries + shape.feed_forward) if lora.rank and lora.dropout else 0
    return norms + inputs + attention + feed_forward + adapted + dropped


def drawing_memory(shape: ModelShape, drawing: Drawing, *, card: bool) -> Memory:
    """Return the memory of the transformers engine at its fullest.

    A prompt's keys and values are kept once for all its answers. When prompts join a batch its keys exist twice,
    hence one half more.
    """
    size = drawing.bytes_per_number
    cached = drawing.answers * drawing.answer_tokens + drawing.prompts * drawing.prompt_tokens
    per_choice = size + 2 * FULL + 8  # the logits, in float32 too, the shares, their sums in float64
    return Memory(
        (
            ("weights", size * shape.parameters),
            ("KV cache", size * shape.key_value_numbers * cached * 3 // 2),
            ("prompts", _prefill(shape, drawing)),
            ("logits", drawing.answers * shape.vocabulary * per_choice),
            ("CUDA", CUDA_CONTEXT if card else 0),
        )
    )


def vllm_memory(shape: ModelShape, drawing: Drawing) -> Memory:
    """Return the least that vLLM needs: the weights, a step's prompts, and room for one whole sequence."""
    sequence = drawing.prompt_tokens + drawing.answer_tokens
    size = drawing.bytes_per_number
    return Memory(
        (
            ("weights", size * shape.parameters),
            ("KV cache of one sequence", size * shape.key_value_numbers * sequence),
            ("prompts", _prefill(shape, drawing)),
            ("CUDA", CUDA_CONTEXT),
        )
    )


def _adapter_parameters(shape: ModelShape, lora: LoraSettings) -> int:
    return shape.adapter_parameters(lora.rank, lora.target_modules) if lora.rank else 0


def _frozen_bytes(lora: LoraSettings, *, half: bool) -> int:
    named = "bfloat16" if half else "float32"
    return HALF if (named if lora.frozen == "auto" else lora.frozen) == "bfloat16" else FULL


def _copies(shape: ModelShape, settings: TrainerSettings, parts: int) -> int:
    """Autocast keeps a copy of each weight for the backward pass; of a layer at a time with checkpointing or shards."""
    return HALF * shape.parameters // (shape.layers if settings.gradient_checkpointing or parts > 1 else 1)


def _activations(shape: ModelShape, settings: TrainerSettings, tokens: int, size: int) -> int:
    layer = layer_activations(shape, size, settings.lora)
    if settings.gradient_checkpointing:  # each layer's input, and one layer computed again
        return tokens * (FULL * shape.width * shape.layers + layer)
    return tokens * layer * shape.layers


def _scoring(shape: ModelShape, settings: TrainerSettings, size: int) -> int:
    """Return what the chunked logits take, and the output matrix's copy and gradient."""
    chunk = settings.logit_rows * shape.vocabulary * (FULL + 2 * size)
    matrix = shape.vocabulary * shape.width
    return chunk + matrix * (size if size == HALF else 0) + (0 if settings.lora.rank else matrix * FULL)


def _prefill(shape: ModelShape, drawing: Drawing) -> int:
    queries = shape.heads * shape.head_size
    return drawing.prefill_tokens * drawing.bytes_per_number * (4 * shape.width + 4 * queries + 3 * shape.feed_forward)
