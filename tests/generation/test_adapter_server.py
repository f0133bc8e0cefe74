"""A server that takes adapters while it runs: it answers as each checkpoint does, and keeps nothing of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from mats_sql.agents.messages import user
from mats_sql.config import Experiment, GenerationSettings
from mats_sql.doctor.engines import engine_findings
from mats_sql.doctor.finding import Status
from mats_sql.errors import EngineError, ModelError
from mats_sql.generation.engine import Completion, Engine, Request, Sampling
from mats_sql.generation.open import open_engine
from mats_sql.layers import write_merged
from tests.chat_server import serving
from tests.generation.adapter_chat import AdapterChatServer, adapter_serving
from tests.generation.conftest import ModelAnswers, make_qwen2
from tests.generation.test_engine_conformance import HAS_VLLM
from tests.generation.vllm_server import vllm_serving
from tests.layered import on_top

ASKED = [Request(f"q{number}", user(f"which schools, {number}")) for number in range(6)]
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What stands for the beginning of a character at the end of an answer; vLLM's server holds it back."""
GREEDY = Sampling(n=1, temperature=0, max_new_tokens=12)


@pytest.fixture(scope="module")
def checkpoints(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A base, an adapter on it, and a second one on top of the first."""
    folder = tmp_path_factory.mktemp("layered")
    one = on_top(llama, folder / "one", 1)
    return [llama, one, on_top(one, folder / "two", 2)]


@pytest.fixture
def server(llama: Path, tmp_path: Path) -> Iterator[AdapterChatServer]:
    with adapter_serving(llama, tmp_path) as started:
        yield started


def at(address: str) -> GenerationSettings:
    return GenerationSettings(engine="openai", base_url=address, server_adapters=True, concurrency=4, attempts=2)


def texts(engine: Engine) -> list[str]:
    """Return an engine's greedy answers; it is closed then."""
    answers = [answer.text for (answer,) in engine.generate(ASKED, GREEDY)]
    engine.close()
    return answers


def test_each_checkpoint_answers_as_transformers_does(server: AdapterChatServer, checkpoints: list[Path]) -> None:
    served = [texts(open_engine(at(server.url), checkpoint)) for checkpoint in checkpoints]
    assert served == [texts(open_engine(GenerationSettings(device="cpu"), checkpoint)) for checkpoint in checkpoints]
    assert len({tuple(answers) for answers in served}) == 3


def test_choices_are_scored_as_a_server_of_the_merged_weights_scores_them(
    server: AdapterChatServer, checkpoints: list[Path], tmp_path: Path
) -> None:
    write_merged(checkpoints[1], tmp_path / "merged")
    answers = ModelAnswers(tmp_path / "merged")
    engine, base = open_engine(at(server.url), checkpoints[1]), open_engine(at(server.url), checkpoints[0])
    with serving(answers) as whole:
        merged = open_engine(GenerationSettings(engine="openai", base_url=whole.url), "tiny")
        likely = answers.reference.first_logprobs(ASKED[0].messages).topk(2).indices
        choices = tuple(answers.reference.tokenizer.decode([token]) for token in likely)
        expected = merged.choice_logprobs(ASKED, choices)
    assert engine.choice_logprobs(ASKED, choices) == expected != base.choice_logprobs(ASKED, choices)
    for opened in (engine, base, merged):
        opened.close()


def test_a_server_keeps_no_adapter_of_an_engine_that_is_closed(
    server: AdapterChatServer, checkpoints: list[Path]
) -> None:
    first, second = open_engine(at(server.url), checkpoints[1]), open_engine(at(server.url), checkpoints[1])
    first.generate(ASKED, GREEDY)
    second.generate(ASKED, GREEDY)
    assert len(server.known()) == 3
    first.close()
    assert len(texts(second)) == len(ASKED), "another engine's adapter stays"
    assert server.known() == [server.model_name]


def test_an_adapter_is_handed_over_once_and_not_where_the_cache_knows(
    server: AdapterChatServer, checkpoints: list[Path], tmp_path: Path
) -> None:
    engine = open_engine(at(server.url), checkpoints[1], cache=tmp_path / "cache")
    engine.generate(ASKED[:3], GREEDY)
    engine.generate(ASKED, GREEDY)
    assert engine.starts == 1
    engine.close()
    again = open_engine(at(server.url), checkpoints[1], cache=tmp_path / "cache")
    again.generate(ASKED, GREEDY)
    assert again.starts == 0
    again.close()
    assert len(server.taken) == 1


def test_the_cache_parts_checkpoints_of_one_base(
    server: AdapterChatServer, checkpoints: list[Path], tmp_path: Path
) -> None:
    for number, checkpoint in enumerate(checkpoints):
        engine = open_engine(at(server.url), checkpoint, cache=tmp_path / "cache")
        engine.generate(ASKED, GREEDY)
        engine.close()
        asked = [body for body in server.bodies if "messages" in body]
        assert len(asked) == (number + 1) * len(ASKED)


def test_a_server_that_was_started_again_gets_the_adapter_again(
    server: AdapterChatServer, checkpoints: list[Path]
) -> None:
    engine = open_engine(at(server.url), checkpoints[2])
    before: list[tuple[Completion, ...]] = engine.generate(ASKED, GREEDY)
    server.restart()
    assert engine.generate(ASKED, GREEDY) == before
    assert len(server.taken) == 2
    engine.close()
    assert server.known() == [server.model_name]


def test_a_server_of_another_base_is_one_line(server: AdapterChatServer, tmp_path: Path) -> None:
    other = make_qwen2(tmp_path / "other")
    with pytest.raises(EngineError, match=r"needs a vLLM server of the checkpoint's own base.*start it as VLLM_ALLOW"):
        open_engine(at(server.url), on_top(other, tmp_path / "layered", 1))


def test_other_weights_of_the_base_s_shape_are_another_base(
    llama: Path, server: AdapterChatServer, tmp_path: Path
) -> None:
    tuned = tmp_path / "tuned"
    shutil.copytree(llama, tuned)
    weights = {name: tensor + 1 for name, tensor in load_file(tuned / "model.safetensors").items()}
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match="checkpoint's own base"):
        open_engine(at(server.url), tuned)


def test_a_hub_name_is_no_checkpoint_that_a_server_could_be_handed(server: AdapterChatServer) -> None:
    with pytest.raises(ModelError, match=r"must be a folder with config\.json, but Qwen/Qwen2\.5-Coder-3B"):
        open_engine(at(server.url), "Qwen/Qwen2.5-Coder-3B")


def test_a_copy_of_the_base_is_the_base(llama: Path, server: AdapterChatServer, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(llama, copy)
    assert len(texts(open_engine(at(server.url), copy))) == len(ASKED)
    assert server.taken == []


def test_a_server_that_takes_no_adapters_is_one_line(server: AdapterChatServer, checkpoints: list[Path]) -> None:
    server.refuses = "LoRA is not enabled"
    engine = open_engine(at(server.url), checkpoints[1])
    with pytest.raises(EngineError, match=r"must take adapters, but said 400.*not enabled.*--enable-lora"):
        engine.generate(ASKED, GREEDY)
    engine.close()


@pytest.mark.parametrize("here", [True, False])
def test_doctor_says_whether_the_server_s_base_is_seen_here(here: bool, server: AdapterChatServer) -> None:
    if not here:
        server.base = Path("/on/another/machine")
    findings = engine_findings(Experiment(name="asked", generation=at(server.url)))
    assert {found.check: found.status for found in findings}["engine: adapters"] is (
        Status.OK if here else Status.MISSING
    )


@pytest.mark.parametrize("settings", [{"engine": "vllm"}, {"engine": "openai", "model": "tiny"}])
def test_adapters_need_a_server_and_no_name(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"server_adapters needs generation\.engine=openai"):
        GenerationSettings.model_validate({**settings, "server_adapters": True})


def test_an_agent_with_a_server_of_its_own_is_asked_there_by_name() -> None:
    own = {"planner": {"base_url": "http://big:8000/v1", "model": "big"}}
    settings = GenerationSettings.model_validate(
        {"engine": "openai", "base_url": "http://localhost:1/v1", "server_adapters": True, "servers": own}
    )
    assert not settings.of_agent("planner").server_adapters
    assert settings.of_agent("fixer").server_adapters


@pytest.mark.skipif(not HAS_VLLM, reason="vllm is not installed")
def test_vllm_s_own_server_takes_the_adapters(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True")
    arguments = ["--enable-lora", "--max-lora-rank", "8", "--max-model-len", "412", "--dtype", "float32"]
    arguments += ["--generation-config", "vllm", "--served-model-name", "tiny"]
    with vllm_serving(checkpoints[0], tmp_path / "log", arguments) as address:
        served = [texts(open_engine(at(address), checkpoint)) for checkpoint in checkpoints]
    own = [texts(open_engine(GenerationSettings(device="cpu"), checkpoint)) for checkpoint in checkpoints]
    assert served == [[text.rstrip(_UNFINISHED) for text in answers] for answers in own]
