"""The estimates agree with what torch really keeps."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from mats_sql.config import LoraSettings, OrpoSettings, SftSettings
from mats_sql.doctor.memory import FULL, GIB, HALF, Drawing, drawing_memory, layer_activations, training_memory
from mats_sql.doctor.stages import training_tokens
from mats_sql.shapes import PUBLISHED, ModelShape, published, shape_of

TOKENS = 50
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
}


def small(layers: int, kind: str = "qwen2") -> tuple[PreTrainedModel, ModelShape]:
    """Return a model of random weights and the shape that its config declares."""
    made = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}[kind]
    config = made[0](num_hidden_layers=layers, tie_word_embeddings=kind == "qwen2", **SIZES)
    shape = shape_of(config.to_dict())
    assert shape is not None
    return made[1](config), shape


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_parameters_are_counted_exactly(kind: str) -> None:
    model, shape = small(3, kind)
    assert shape.parameters == model.num_parameters()


@pytest.mark.parametrize("targets", ["all-linear", "q_proj, v_proj"])
def test_adapters_are_counted_exactly(targets: str) -> None:
    from peft import get_peft_model

    from mats_sql.training.lora import lora_config

    model, shape = small(2)
    adapted = get_peft_model(model, lora_config(LoraSettings(rank=4, target_modules=targets)))
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert shape.adapter_parameters(4, targets) == trained


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-Coder-0.5B-Instruct", 494_032_768),
        ("checkpoints/Qwen2.5-Coder-1.5B", 1_543_714_304),
        ("qwen2.5-coder-3b-instruct", 3_085_938_688),
        ("Qwen2.5-Coder-7B-Instruct/", 7_615_616_512),
    ],
)
def test_published_shapes_have_the_published_numbers_of_parameters(name: str, parameters: int) -> None:
    known = published(name)
    assert known is not None
    assert known.shape.parameters == parameters


def test_published_shapes_are_what_transformers_builds() -> None:
    config = Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151_936,
        tie_word_embeddings=True,
        max_position_embeddings=32_768,
    )
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config)
    assert PUBLISHED[0].shape.parameters == model.num_parameters()


def kept_per_layer(lora: LoraSettings, *, half: bool) -> float:
    """Return the bytes per token that autograd keeps for one layer more, without weights and their copies."""
    return (kept(3, lora, half=half) - kept(2, lora, half=half)) / TOKENS


def kept(layers: int, lora: LoraSettings, *, half: bool) -> int:
    from mats_sql.training.lora import adapt

    model, _ = small(layers)
    model = adapt(model, lora, seed=0)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    shapes = {tuple(weight.shape) for weight in model.parameters()}
    shapes |= {shape[::-1] for shape in shapes}
    found: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tuple(tensor.shape) not in shapes:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    ids = torch.arange(TOKENS)[None] + 7
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        if lora.rank:
            model.enable_input_require_grads()
        hidden = model.base_model(input_ids=ids, use_cache=False)
    assert hidden is not None
    return sum(size for size, _ in found.values())


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("half", [False, True])
def test_activations_are_what_autograd_keeps(rank: int, half: bool) -> None:
    _, shape = small(2)
    lora = LoraSettings(rank=rank)
    measured = kept_per_layer(lora, half=half)
    estimated = layer_activations(shape, HALF if half else FULL, lora)
    assert 0.95 * measured <= estimated <= 1.2 * measured, (measured, estimated)


def parts(settings: SftSettings, tokens: int = 1000) -> dict[str, int]:
    return dict(training_memory(PUBLISHED[0].shape, settings, tokens, card=True).parts)


def test_full_training_holds_weights_gradients_and_moments_in_float32() -> None:
    shape, held = PUBLISHED[0].shape, parts(SftSettings())
    assert [held[name] // shape.parameters for name in ("weights", "16-bit copies", "gradients", "optimizer")] == [
        4,
        2,
        4,
        8,
    ]


def test_adapters_have_the_only_gradients_and_moments() -> None:
    adapters = PUBLISHED[0].shape.adapter_parameters(8)
    held = parts(SftSettings(lora=LoraSettings(rank=8)))
    assert (held["gradients"], held["optimizer"]) == (4 * adapters, 8 * adapters)


@pytest.mark.parametrize(("frozen", "bytes_each", "copies"), [("auto", 2, 0), ("bfloat16", 2, 0), ("float32", 4, 2)])
def test_frozen_weights_in_bfloat16_are_held_once(frozen: str, bytes_each: int, copies: int) -> None:
    shape = PUBLISHED[0].shape
    held = parts(SftSettings(lora=LoraSettings(rank=8, frozen=frozen)))
    assert held["weights"] - 4 * shape.adapter_parameters(8) == bytes_each * shape.parameters
    assert held["16-bit copies"] == copies * shape.parameters


def test_checkpointing_keeps_the_layers_inputs_and_one_layer() -> None:
    shape = PUBLISHED[0].shape
    plain = parts(SftSettings())["activations"]
    checkpointed = parts(SftSettings(gradient_checkpointing=True))["activations"]
    assert checkpointed == plain // shape.layers + 1000 * 4 * shape.width * shape.layers


@pytest.mark.parametrize(("sharing", "tokens"), [(True, 2 * (1024 + 96)), (False, 2 * 2048)])
def test_a_pair_counts_its_prompt_once_where_it_is_shared(sharing: bool, tokens: int) -> None:
    assert training_tokens(OrpoSettings(batch_size=2, prefix_sharing=sharing), 96) == tokens
    assert training_tokens(SftSettings(batch_size=2), 96) == 2048


def test_the_cache_keeps_a_prompt_once_for_all_its_answers() -> None:
    shape = PUBLISHED[2].shape
    drawing = Drawing(16, 10, 2, 100, prefill_tokens=200, bytes_per_number=2)
    held = dict(drawing_memory(shape, drawing, card=True).parts)
    assert shape.key_value_numbers == 2 * 36 * 2 * 128
    assert held["KV cache"] == 3 * shape.key_value_numbers * (16 * 10 + 2 * 100)


def test_a_shard_holds_its_part_of_weights_gradients_and_moments() -> None:
    shape, settings = PUBLISHED[0].shape, SftSettings(gradient_checkpointing=True)
    whole, quarter = (dict(training_memory(shape, settings, 1000, card=True, parts=count).parts) for count in (1, 4))
    divided = ("weights", "gradients", "optimizer")
    assert [quarter[name] for name in divided] == [whole[name] // 4 for name in divided]
    assert all(quarter[name] == whole[name] for name in set(whole) - set(divided))


@pytest.mark.parametrize(
    ("name", "settings", "tokens", "measured"),
    [
        ("0.5B", OrpoSettings(batch_size=8), 1700 + 2 * 200, 35.64),
        ("0.5B", SftSettings(batch_size=8), 1700 + 200, 30.60),
        ("3B", OrpoSettings(batch_size=4, gradient_checkpointing=True), 1700 + 2 * 200, 47.61),
        ("3B", SftSettings(batch_size=4, gradient_checkpointing=True), 1700 + 200, 47.34),
    ],
)
def test_an_estimate_is_no_less_than_a_card_took_and_hardly_more(
    name: str, settings: SftSettings | OrpoSettings, tokens: int, measured: float
) -> None:
    """Measured in GiB by benchmarks/gpu.py on one H200; docs/performance.md has the table."""
    found = published(f"Qwen2.5-Coder-{name}")
    assert found is not None
    estimated = training_memory(found.shape, settings, settings.batch_size * tokens, card=True).total / GIB
    assert measured <= estimated <= 1.15 * measured
