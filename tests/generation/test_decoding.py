"""The decode loop: what batches look like, and that none of it shows in the answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, PreTrainedModel

from mats_sql.generation import decoding
from mats_sql.generation.branched_cache import register_shared_prompt_attention
from mats_sql.generation.decoding import BatchSize, Branch, Decoder, Prompt

STOPS = range(20)


@pytest.fixture(scope="module")
def model(llama: Path) -> PreTrainedModel:
    """The tiny Llama with shared-prompt attention."""
    loaded = AutoModelForCausalLM.from_pretrained(llama)
    loaded.set_attn_implementation(register_shared_prompt_attention())
    return loaded


def _prompts(lengths: list[int], samples: list[int]) -> list[Prompt]:
    random = torch.Generator().manual_seed(3)
    return [
        Prompt(
            tuple(torch.randint(20, 280, (length,), generator=random).tolist()),
            tuple(Branch(100 * index + sample, sample or None) for sample in range(count)),
        )
        for index, (length, count) in enumerate(zip(lengths, samples, strict=True))
    ]


def _decode(decoder: Decoder, prompts: list[Prompt], tokens: int = 8) -> dict[int, tuple[int, ...]]:
    return {answer.key: answer.tokens for answer in decoder.decode(prompts, 1.0, tokens)}


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 5)), min_size=1, max_size=12),
    rows=st.integers(1, 20),
    tokens=st.integers(1, 200),
    shared=st.booleans(),
)
def test_any_batching_of_any_prompts_gives_the_answers_of_each_prompt_alone(
    model: PreTrainedModel, shape: list[tuple[int, int]], rows: int, tokens: int, shared: bool
) -> None:
    prompts = _prompts([length for length, _ in shape], [count for _, count in shape])
    model.set_attn_implementation(register_shared_prompt_attention() if shared else "sdpa")
    batched = _decode(Decoder(model, STOPS, BatchSize(tokens, rows), shared=shared), prompts)
    model.set_attn_implementation(register_shared_prompt_attention())
    alone: dict[int, tuple[int, ...]] = {}
    for prompt in prompts:
        alone |= _decode(Decoder(model, STOPS, BatchSize(1, 1), shared=True), [prompt])
    assert batched == alone


def test_answers_settled_alone_are_the_answers_of_the_batch(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = _prompts([30, 5, 17, 1], [4, 4, 4, 4])
    decoder = Decoder(model, STOPS, BatchSize(64, 8), shared=True)
    batched = _decode(decoder, prompts)
    assert decoder.settled == 0
    monkeypatch.setattr(decoding, "_ROUNDING", 1e9)
    assert _decode(decoder, prompts) == batched
    assert decoder.settled == sum(len(tokens) for tokens in batched.values())


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), scale=st.floats(0.1, 30), temperature=st.floats(0.3, 2))
def test_whatever_rounding_changes_is_settled_alone(seed: int, scale: float, temperature: float) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(64, 200, generator=random)
    error = decoding._ROUNDING * logits.abs().amax(dim=1, keepdim=True)
    rounded = logits + error * (2 * torch.rand(logits.shape, generator=random) - 1)
    cumulative = torch.softmax(logits / temperature, dim=1).cumsum(dim=1, dtype=torch.float64)
    boundary = cumulative[:, 20:21] / cumulative[:, -1:]
    uniforms = (boundary * (1 + 1e-6 * torch.randn(64, 1, generator=random))).clamp(0, 1)
    for greedy in (torch.zeros(64, dtype=torch.bool), torch.ones(64, dtype=torch.bool)):
        drawn, close = decoding._choose(logits, uniforms, greedy, temperature)
        again, _ = decoding._choose(rounded, uniforms, greedy, temperature)
        assert bool((close | (drawn == again)).all())


def test_an_answer_ends_with_the_first_stop_token(model: PreTrainedModel) -> None:
    decoder = Decoder(model, range(150), BatchSize(500, 64), shared=True)
    answers = list(decoder.decode(_prompts([9] * 20, [3] * 20), 1.0, 6))
    assert {answer.finished for answer in answers} == {True, False}
    for answer in answers:
        stops = [position for position, token in enumerate(answer.tokens) if token < 150]
        assert stops == ([len(answer.tokens) - 1] if answer.finished else [])
        assert answer.finished or len(answer.tokens) == 6


def test_a_prompt_is_computed_once_for_all_its_answers(model: PreTrainedModel) -> None:
    fed: list[int] = []
    hook = model.base_model.embed_tokens.register_forward_hook(
        lambda _module, inputs, _output: fed.append(inputs[0].numel())
    )
    try:
        _decode(Decoder(model, [], BatchSize(500, 64), shared=True), _prompts([40], [8]), tokens=5)
    finally:
        hook.remove()
    assert fed == [39, 8, 8, 8, 8, 8]
