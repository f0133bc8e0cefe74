"""What vLLM is asked for: the arguments it starts with, and how many requests scoring takes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mats_sql.agents.messages import user
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError
from mats_sql.generation.engine import Engine, Request, Sampling
from mats_sql.generation.open import engine_identity, open_engine
from mats_sql.generation.vllm_engine import FirstTokens, VllmEngine, WholeEndings, llm_arguments, scoring_of

BIRD = GenerationSettings(
    engine="vllm", dtype="bfloat16", max_prompt_tokens=8192, plan_tokens=1024, critique_tokens=512, fix_tokens=256
)
SMALL = GenerationSettings(engine="vllm", max_prompt_tokens=400)
ASK = [Request(f"q{index}", user(f"which schools of {index}")) for index in range(5)]
needs_no_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm itself is installed")


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(resources: ExitStack, settings: GenerationSettings, model: Path) -> Engine:
    engine = open_engine(settings, model)
    resources.callback(engine.close)
    return engine


def test_a_sequence_holds_the_longest_prompt_and_the_longest_answer() -> None:
    arguments = llm_arguments(BIRD, "Qwen2.5-Coder-3B-Instruct", 32_768, on_cpu=False)
    assert arguments["max_model_len"] == 8192 + 1024
    assert arguments["max_num_batched_tokens"] == BIRD.batch_tokens
    fixes = BIRD.model_copy(update={"fix_tokens": 2048})
    assert llm_arguments(fixes, "model", 32_768, on_cpu=False)["max_model_len"] == 8192 + 2048


def test_a_sequence_is_no_longer_than_the_models_context() -> None:
    assert llm_arguments(BIRD, "model", 4096, on_cpu=False)["max_model_len"] == 4096
    assert llm_arguments(BIRD, "model", None, on_cpu=False)["max_model_len"] == 9216


@pytest.mark.parametrize("on_cpu", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 16_384, 65_536])
def test_a_step_holds_a_whole_sequence(batch_tokens: int, on_cpu: bool) -> None:
    settings = BIRD.model_copy(update={"batch_tokens": batch_tokens, "max_prompt_tokens": 20_000})
    arguments = llm_arguments(settings, "model", 32_768, on_cpu=on_cpu)
    assert arguments["max_num_batched_tokens"] == max(batch_tokens, 21_024)
    assert arguments["max_model_len"] == 21_024


def test_prompts_are_split_as_vllm_likes_on_a_gpu_and_not_at_all_on_a_cpu() -> None:
    assert "enable_chunked_prefill" not in llm_arguments(BIRD, "model", None, on_cpu=False)
    assert llm_arguments(BIRD, "model", None, on_cpu=True)["enable_chunked_prefill"] is False


def test_memory_cards_and_quantisation_are_passed_on() -> None:
    settings = BIRD.model_copy(
        update={"gpu_memory_utilization": 0.5, "tensor_parallel_size": 4, "quantization": "fp8", "decode_rows": 32}
    )
    arguments = llm_arguments(settings, Path("checkpoints/qwen"), None, on_cpu=False)
    assert (arguments["gpu_memory_utilization"], arguments["tensor_parallel_size"]) == (0.5, 4)
    assert (arguments["quantization"], arguments["max_num_seqs"]) == ("fp8", 32)
    assert (arguments["model"], arguments["dtype"]) == ("checkpoints/qwen", "bfloat16")
    plain = llm_arguments(BIRD, "model", None, on_cpu=False)
    assert (plain["gpu_memory_utilization"], plain["tensor_parallel_size"]) == (0.9, 1)
    assert "quantization" not in plain, "vllm reads a quantised checkpoint's own"


def test_quantised_weights_make_another_model(llama: Path) -> None:
    quantised = BIRD.model_copy(update={"quantization": "fp8"})
    assert engine_identity(quantised, llama) != engine_identity(BIRD, llama)
    local = BIRD.model_copy(update={"engine": "transformers"})
    ignored = quantised.model_copy(update={"engine": "transformers"})
    assert engine_identity(ignored, llama) == engine_identity(local, llama)


def test_choices_of_one_token_each_are_told_by_the_first_token_and_others_are_not() -> None:
    assert scoring_of([(5,), (7,)]) == FirstTokens((5, 7))
    assert scoring_of([(5,), (7, 8)]) == WholeEndings(((5,), (7, 8)))
    assert scoring_of([(5,), (5,)]) == WholeEndings(((5,), (5,)))


@needs_no_vllm
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("choices", "requests"), [(("y", "n"), 5), (("y", "n", "Conclude: correct."), 15)])
def test_all_prompts_are_scored_in_one_call(
    llama: Path, resources: ExitStack, choices: tuple[str, ...], requests: int
) -> None:
    engine = opened(resources, SMALL, llama)
    scores = engine.choice_logprobs(ASK, choices)
    assert isinstance(engine, VllmEngine)
    with engine._loaded() as llm:
        assert llm.calls == [requests]
    plain = opened(resources, GenerationSettings(device="cpu"), llama).choice_logprobs(ASK, choices)
    assert scores == [pytest.approx(row, abs=1e-3) for row in plain]


@needs_no_vllm
@pytest.mark.usefixtures("stand_in")
def test_a_prompt_that_leaves_no_room_for_a_choice_is_refused(llama: Path, resources: ExitStack) -> None:
    engine = opened(resources, SMALL.model_copy(update={"max_prompt_tokens": 511}), llama)
    assert isinstance(engine, VllmEngine)
    prompts = [user("y " * count) for count in range(200, 256)]
    length = {prompt: len(tokens) for prompt, tokens in engine._tokenized(prompts).items()}
    nearly = next(prompt for prompt in prompts if 509 <= length[prompt] <= 511)
    assert engine.choice_logprobs([Request("nearly", nearly)], ("y", "n"))[0][0] != pytest.approx(math.log(0.5))
    assert engine.overlong == ()
    engine.choice_logprobs([Request("nearly", nearly)], ("Conclude: correct. no", "Conclude: incorrect. no"))
    assert engine.overlong == ("nearly",)


@needs_no_vllm
@pytest.mark.usefixtures("stand_in")
def test_vllm_starts_at_the_first_draw_and_stops_when_another_one_starts(
    llama: Path, qwen2: Path, resources: ExitStack
) -> None:
    one, two = opened(resources, SMALL, llama), opened(resources, SMALL, qwen2)
    assert (one.starts, two.starts) == (0, 0)
    sampling = Sampling(temperature=0, max_new_tokens=2)
    expected = one.generate(ASK, sampling)
    assert isinstance(one, VllmEngine)
    with one._loaded() as llm:
        assert llm.running
    two.generate(ASK, sampling)
    assert not llm.running
    assert one.generate(ASK, sampling) == expected
    assert (one.starts, two.starts) == (2, 1)


@needs_no_vllm
@pytest.mark.usefixtures("stand_in")
def test_a_vllm_that_does_not_start_is_one_line(llama: Path, resources: ExitStack, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in llama.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    engine = opened(resources, SMALL, model)
    (model / "model.safetensors").unlink()
    with pytest.raises(EngineError, match=f"vLLM must start with {model}, but: .*; check model and memory") as caught:
        engine.generate(ASK, Sampling(temperature=0, max_new_tokens=2))
    assert "\n" not in str(caught.value)
