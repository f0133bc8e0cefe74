"""vLLM as the engine of a Ray cluster: its answers are those of a vLLM here, and a killed actor leaves nothing."""

from __future__ import annotations

import importlib.util
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mats_sql.agents.messages import user
from mats_sql.config import GenerationSettings
from mats_sql.generation.engine import Request, Sampling
from mats_sql.generation.open import open_engine
from tests.cluster.conftest import TwoNodes, commands, needs_ray, wait_until
from tests.generation.conftest import make_llama

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.slow,
    needs_ray,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
SETTINGS = GenerationSettings(engine="vllm", dtype="float32", max_prompt_tokens=400, decode_rows=2)
REQUESTS = [Request(f"question-{index}", user(f"which schools of {index}")) for index in range(12)]
GREEDY = Sampling(n=1, temperature=0.0, max_new_tokens=12)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama checkpoint."""
    return make_llama(tmp_path_factory.mktemp("llama"))


def vllm_processes() -> set[int]:
    """Return vLLM's own processes on this machine."""
    return {pid for pid, (command, _) in commands().items() if "VLLM::" in command}


def test_vllm_on_two_nodes_answers_as_vllm_here_and_a_killed_actor_leaves_nothing(nodes: TwoNodes, llama: Path) -> None:
    here = open_engine(SETTINGS, llama)
    expected, scores = here.generate(REQUESTS, GREEDY), here.choice_logprobs(REQUESTS, ("yes", "no"))
    here.close()
    wait_until(lambda: not vllm_processes(), "the vLLM of this process has ended")

    engine = open_engine(SETTINGS, llama, cluster="ray")
    assert engine.choice_logprobs(REQUESTS, ("yes", "no")) == [pytest.approx(row, abs=1e-4) for row in scores]
    wait_until(lambda: not vllm_processes(), "the vLLM of every node has ended with the call")

    def kill_one() -> None:
        wait_until(lambda: bool(vllm_processes()), "a vLLM has started")
        os.kill(nodes.first_named("EngineActor.answer"), signal.SIGKILL)

    with ThreadPoolExecutor() as beside:
        killed = beside.submit(kill_one)
        assert engine.generate(REQUESTS, GREEDY) == expected
        killed.result()
    wait_until(lambda: not vllm_processes(), "no vLLM is left, also of the actor that was killed")
