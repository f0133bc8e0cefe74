"""What vLLM is asked for: the arguments it starts with, and how many requests scoring takes."""

from __future__ import annotations

import importlib.util
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from mats_sql.agents.messages import user
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError
from mats_sql.generation.engine import Engine, Request, Sampling
from mats_sql.generation.loaded import LOADED
from mats_sql.generation.open import engine_identity, open_engine
from mats_sql.generation.vllm_base import ENVIRONMENT, llm_arguments, lora_arguments
from mats_sql.generation.vllm_engine import FirstTokens, VllmEngine, WholeEndings, scoring_of
from mats_sql.layers import base_of, begin_layer
from mats_sql.training.lora import write_adapter
from tests.training.processes import children

if TYPE_CHECKING:
    from vllm import LLM

BIRD = GenerationSettings(
    engine="vllm", dtype="bfloat16", max_prompt_tokens=8192, plan_tokens=1024, critique_tokens=512, fix_tokens=256
)
SMALL = GenerationSettings(engine="vllm", max_prompt_tokens=400, gpu_memory_utilization=0.3)
ASK = [Request(f"q{index}", user(f"which schools of {index}")) for index in range(5)]
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
needs_no_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm itself is installed")


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def some_vllm(request: pytest.FixtureRequest) -> None:
    """VLLM itself where it is installed, else the stand-in."""
    if importlib.util.find_spec("vllm") is None:
        request.getfixturevalue("stand_in")


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
    assert plain["enforce_eager"] is False
    assert llm_arguments(BIRD.model_copy(update={"compiled": False}), "model", None, on_cpu=False)["enforce_eager"]
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
    with engine._base.loaded(None) as llm:
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
    with one._base.loaded(None) as llm:
        assert llm.running
    two.generate(ASK, sampling)
    assert not llm.running
    assert one.generate(ASK, sampling) == expected
    assert (one.starts, two.starts) == (2, 1)


def test_ranks_are_asked_for_as_vllm_takes_them() -> None:
    assert lora_arguments([]) == {}
    assert lora_arguments([8, 24, 16]) == {"enable_lora": True, "max_loras": 1, "max_lora_rank": 32, "max_cpu_loras": 3}


@pytest.fixture
def agents(llama: Path, tmp_path: Path) -> list[Path]:
    """Three agents on one base: the base itself, one with an adapter, and one with another adapter upon that."""
    one = on_top(llama, tmp_path / "one", seed=1)
    return [llama, one, on_top(one, tmp_path / "two", seed=2)]


def on_top(below: Path, folder: Path, seed: int) -> Path:
    """Write a checkpoint with one adapter of rank 8 more."""
    folder.mkdir()
    torch.manual_seed(seed)
    config = LoraConfig(r=8, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base_of(below), dtype=torch.float32), config)
    write_adapter(model, begin_layer(folder, below), torch.float32)
    return folder


@pytest.mark.usefixtures("some_vllm")
def test_agents_of_one_base_share_its_vllm_and_answer_as_their_merged_weights_do(
    agents: list[Path], resources: ExitStack
) -> None:
    engines = [opened(resources, SMALL, model) for model in agents]
    sampling = Sampling(temperature=0, max_new_tokens=8)
    for _ in range(2):
        found = [(engine.generate(ASK, sampling), engine.choice_logprobs(ASK, ("y", "n"))) for engine in engines]
    assert sum(engine.starts for engine in engines) == 1
    plain = [opened(resources, GenerationSettings(device="cpu"), model) for model in agents]
    for (answers, scores), engine in zip(found, plain, strict=True):
        assert answers == engine.generate(ASK, sampling)
        assert scores == [pytest.approx(row, abs=1e-3) for row in engine.choice_logprobs(ASK, ("y", "n"))]
    assert len({answers[0][0].text for answers, _ in found}) == 3


@pytest.mark.usefixtures("some_vllm")
def test_a_base_starts_again_for_an_adapter_larger_than_it_was_told_of(
    agents: list[Path], resources: ExitStack
) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=2)
    _, one, two = agents
    small = opened(resources, SMALL, one)
    expected = small.generate(ASK, sampling)
    large = opened(resources, SMALL, two)
    large.generate(ASK, sampling)
    assert small.generate(ASK, sampling) == expected
    assert (small.starts, large.starts) == (1, 1)


@needs_no_vllm
@pytest.mark.usefixtures("stand_in")
def test_a_base_stays_until_its_last_agent_is_closed(agents: list[Path]) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=2)
    first, second = (open_engine(SMALL, model) for model in agents[1:])
    first.generate(ASK, sampling)
    assert isinstance(first, VllmEngine)
    with first._base.loaded(None) as llm:
        assert llm.running
    first.close()
    second.generate(ASK, sampling)
    assert (llm.running, second.starts) == (True, 0)
    second.close()
    assert not llm.running


@needs_no_vllm
@pytest.mark.usefixtures("stand_in")
def test_while_models_are_kept_a_base_stays_for_the_next_agents_until_its_room_is_needed(
    agents: list[Path], qwen2: Path
) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=2)

    def asked(model: Path) -> tuple[int, LLM]:
        with ExitStack() as stage:
            engine = opened(stage, SMALL, model)
            assert isinstance(engine, VllmEngine)
            engine.generate(ASK, sampling)
            with engine._base.loaded(engine._adapter) as llm:
                return engine.starts, llm

    with LOADED.keeping():
        (starts, llm), again = asked(agents[1]), asked(agents[1])
        assert (starts, llm.running, again) == (1, True, (0, llm))
        larger, second = asked(agents[2])
        assert (larger, llm.running, second.running) == (1, False, True), "an adapter of more than it was started for"
        assert asked(agents[1]) == (0, second)
        other, third = asked(qwen2)
        assert (other, second.running, third.running) == (1, False, True)
        LOADED.free()
        assert not third.running
        _, last = asked(agents[0])
        assert last.running
    assert not last.running
    assert not asked(agents[0])[1].running


@needs_vllm
def test_vllm_reads_what_its_environment_is_told() -> None:
    from vllm import envs

    assert set(ENVIRONMENT) <= set(envs.environment_variables)


def engine_processes(parent: int | None = None) -> list[int]:
    return [pid for pid in children(parent or os.getpid()) if Path(f"/proc/{pid}/comm").read_text().startswith("VLLM")]


@needs_vllm
def test_a_killed_engine_process_is_one_line_and_the_next_call_starts_another(
    llama: Path, resources: ExitStack
) -> None:
    engine = opened(resources, SMALL, llama)
    sampling = Sampling(temperature=0, max_new_tokens=8)
    expected = engine.generate(ASK, sampling)
    [process] = engine_processes()
    os.kill(process, signal.SIGKILL)
    with pytest.raises(EngineError, match="vLLM's engine must live until all is drawn, but: ") as caught:
        engine.generate(ASK, sampling)
    assert "\n" not in str(caught.value)
    assert engine.generate(ASK, sampling) == expected
    assert engine.starts == 2
    engine.close()
    assert engine_processes() == []


PARENT = """
import sys, time
from pathlib import Path
from mats_sql.agents.messages import user
from mats_sql.config import GenerationSettings
from mats_sql.generation import Request, Sampling, open_engine
if __name__ == "__main__":
    engine = open_engine(GenerationSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
    engine.generate([Request("a", user("how many"))], Sampling(temperature=0, max_new_tokens=2))
    print("ready", flush=True)
    time.sleep(1000)
"""


@needs_vllm
def test_a_killed_command_leaves_no_vllm(llama: Path, tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    settings = SMALL.model_copy(update={"compiled": False})
    asked = [sys.executable, str(program), settings.model_dump_json(), str(llama)]
    parent = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert any(line == "ready\n" for line in parent.stdout)
    [process] = engine_processes(parent.pid)
    workers = children(process)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in (process, *workers)):
        assert time.monotonic() < deadline, "vLLM outlived the command"
        time.sleep(0.1)


@needs_vllm
def test_a_kept_vllm_answers_another_teams_adapter_and_is_gone_in_the_end(agents: list[Path], tmp_path: Path) -> None:
    sampling, other = Sampling(temperature=0, max_new_tokens=8), on_top(agents[0], tmp_path / "other", seed=3)
    found = []
    with LOADED.keeping():
        for model in (agents[1], other):
            engine = open_engine(SMALL, model)
            found.append((engine.generate(ASK, sampling)[0][0].text, engine.starts))
            engine.close()
            assert len(engine_processes()) == 1
    assert engine_processes() == []
    alone = open_engine(SMALL, other)
    assert alone.generate(ASK, sampling)[0][0].text == found[1][0] != found[0][0]
    assert [starts for _, starts in found] == [1, 0]
    alone.close()


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
