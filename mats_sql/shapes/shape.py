"""A decoder's shape, read from its ``config.json``, and what can be counted from it without any weights.

Covered: Llama, Mistral, Qwen2 and Qwen3. Not covered: mixtures of experts, encoders, anything with other layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_FILE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_KNOWN = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The numbers that decide a decoder's size; ``width`` is its hidden size, ``context`` its longest sequence."""

    width: int
    feed_forward: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    context: int
    qkv_bias: bool = False
    output_bias: bool = False
    feed_forward_bias: bool = False
    normed_heads: bool = False
    file_bytes_per_weight: int = 4

    @property
    def parameters(self) -> int:
        """How many weights the model has, each counted once: a tied output matrix is the embedding's."""
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return embeddings + self.layers * self._layer_parameters() + self.width

    @property
    def key_value_numbers(self) -> int:
        """How many numbers the key-value cache keeps per token."""
        return 2 * self.layers * self.key_heads * self.head_size

    def adapter_parameters(self, rank: int, targets: str = "all-linear") -> int:
        """Return how many weights LoRA adapters of that rank have.

        ``targets`` names modules as PEFT does: the ends of their names, parted by commas, or ``all-linear``: every
        linear module but the output matrix.
        """
        linear = self._linear()
        named = [name.strip().rpartition(".")[2] for name in targets.split(",")]
        wanted = linear.keys() if targets == "all-linear" else linear.keys() & set(named)
        return self.layers * rank * sum(sum(linear[name]) for name in wanted)

    def _linear(self) -> dict[str, tuple[int, int]]:
        """Return the inputs and outputs of a layer's linear modules."""
        queries, keys = self.heads * self.head_size, self.key_heads * self.head_size
        return {
            "q_proj": (self.width, queries),
            "k_proj": (self.width, keys),
            "v_proj": (self.width, keys),
            "o_proj": (queries, self.width),
            "gate_proj": (self.width, self.feed_forward),
            "up_proj": (self.width, self.feed_forward),
            "down_proj": (self.feed_forward, self.width),
        }

    def _layer_parameters(self) -> int:
        queries, keys = self.heads * self.head_size, self.key_heads * self.head_size
        matrices = sum(inputs * outputs for inputs, outputs in self._linear().values())
        biases = (queries + 2 * keys if self.qkv_bias else 0) + (self.width if self.output_bias else 0)
        biases += 2 * self.feed_forward + self.width if self.feed_forward_bias else 0
        norms = 2 * self.width + (2 * self.head_size if self.normed_heads else 0)
        return matrices + biases + norms


def shape_of(config: Mapping[str, object]) -> ModelShape | None:
    """Return the shape that a parsed ``config.json`` declares, or None for a layout that is not covered.

    Raises :class:`ValueError` for a covered layout whose numbers are missing or not whole.
    """
    kind = config.get("model_type")
    if kind not in _KNOWN:
        return None
    width, heads = _whole(config, "hidden_size"), _whole(config, "num_attention_heads")
    biased = bool(config.get("attention_bias", False))
    return ModelShape(
        width=width,
        feed_forward=_whole(config, "intermediate_size"),
        layers=_whole(config, "num_hidden_layers"),
        heads=heads,
        key_heads=_whole(config, "num_key_value_heads", heads),
        head_size=_whole(config, "head_dim", 128 if kind == "qwen3" else width // heads),
        vocabulary=_whole(config, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", False)),
        context=_whole(config, "max_position_embeddings"),
        qkv_bias=biased or kind == "qwen2",
        output_bias=biased and kind in ("llama", "qwen3"),
        feed_forward_bias=bool(config.get("mlp_bias", False)) and kind == "llama",
        normed_heads=kind == "qwen3",
        file_bytes_per_weight=_FILE_BYTES.get(str(config.get("dtype") or config.get("torch_dtype")), 4),
    )


def _whole(config: Mapping[str, object], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{key} must be a whole number above 0, but is {value!r}")
    return value
