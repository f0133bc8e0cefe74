"""Opening an engine: bad input is one line, and a checkpoint is known by its content."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mats_sql.agents.messages import user
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError, ModelError
from mats_sql.generation.engine import Request, Sampling
from mats_sql.generation.open import engine_identity, open_engine
from tests.chat_server import HANG_UP, serving

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = GenerationSettings(device="cpu")
ASK = [Request("q", user("which schools"))]
ONE = Sampling(temperature=0, max_new_tokens=2)


def _remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _tear_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _remove_a_shard(folder: Path) -> None:
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    (folder / "model.safetensors").rename(folder / shards[0])
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _remove_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def _remove_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()


def _break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _use_sliding_windows(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layer_types": ["sliding_attention"] * 2}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "must be a folder with config.json"),
        (_remove_weights, "weights must load"),
        (_remove_a_shard, "weights must load, but .* lacks model-00002-of-00002.safetensors"),
        (_remove_template, "must have a chat template"),
        (_remove_tokenizer, "tokenizer must"),
        (_break_config, "must load"),
        (_use_sliding_windows, "needs full attention"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(
    qwen2: Path, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    checkpoint = Path(shutil.copytree(qwen2, tmp_path / "model"))
    damage(checkpoint)
    with pytest.raises(ModelError, match=message) as caught:
        open_engine(CPU, checkpoint)
    assert "\n" not in str(caught.value)
    assert str(checkpoint) in str(caught.value)


def test_torn_weights_are_one_line_at_the_first_draw(qwen2: Path, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copytree(qwen2, tmp_path / "model"))
    _tear_weights(checkpoint)
    engine = open_engine(CPU, checkpoint)
    with pytest.raises(ModelError, match=f"weights must load, but {checkpoint}") as caught:
        engine.generate(ASK, ONE)
    assert "\n" not in str(caught.value)
    assert engine.starts == 0
    engine.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (GenerationSettings(device="warp"), "generation.device must be usable, but 'warp'"),
        (GenerationSettings(engine="openai"), "generation.base_url must be set"),
    ],
)
def test_an_unusable_setting_is_one_line(llama: Path, settings: GenerationSettings, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        open_engine(settings, llama)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/v1", "not an address", "http://"])
def test_an_unreachable_server_is_one_line(address: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = address.format(port=free.getsockname()[1])
        with pytest.raises(EngineError, match="must be reachable") as caught:
            open_engine(GenerationSettings(engine="openai", base_url=url), "tiny")
    assert "\n" not in str(caught.value)


def test_a_busy_server_is_asked_again(chat_server: Any) -> None:
    engine = open_engine(GenerationSettings(engine="openai", base_url=chat_server.url), "tiny")
    expected = engine.generate(ASK, ONE)
    chat_server.refusals.extend([429, 503])
    assert engine.generate(ASK, ONE) == expected
    assert chat_server.refusals == []
    engine.close()


def test_a_server_that_stays_busy_is_one_line(chat_server: Any) -> None:
    settings = GenerationSettings(engine="openai", base_url=chat_server.url, attempts=2)
    engine = open_engine(settings, "tiny")
    chat_server.refusals.extend([503, 503])
    with pytest.raises(EngineError, match=r"said 503: .*busy.*; tried 2 times") as caught:
        engine.generate(ASK, ONE)
    assert "\n" not in str(caught.value)
    assert chat_server.refusals == []
    engine.close()


def test_a_server_says_itself_when_to_ask_again(chat_server: Any) -> None:
    engine = open_engine(GenerationSettings(engine="openai", base_url=chat_server.url), "tiny")
    chat_server.refusals.append(429)
    chat_server.retry_after_s = 1
    asked_at = time.monotonic()
    engine.generate(ASK, ONE)
    chat_server.retry_after_s = None
    assert time.monotonic() - asked_at >= 1, "left to itself, the client asks again after half a second"
    engine.close()


def test_a_server_has_a_minute_to_start_again(chat_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = GenerationSettings(engine="openai", base_url=chat_server.url)
    engine = open_engine(settings, "tiny")
    pauses_s: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses_s.append)
    expected_s = 60
    chat_server.refusals.extend([503] * (settings.attempts - 1))
    assert engine.generate(ASK, ONE)[0][0].token_count > 0
    assert len(pauses_s) == settings.attempts - 1
    assert 0.75 * expected_s < sum(pauses_s) < 1.25 * expected_s
    engine.close()


def test_a_server_that_hangs_up_is_one_line(chat_server: Any) -> None:
    settings = GenerationSettings(engine="openai", base_url=chat_server.url, attempts=2)
    engine = open_engine(settings, "tiny")
    chat_server.refusals.extend([HANG_UP, HANG_UP])
    with pytest.raises(
        EngineError, match=f"base_url must be reachable, but {chat_server.url}: .*; tried 2 times"
    ) as caught:
        engine.generate(ASK, ONE)
    assert "\n" not in str(caught.value)
    assert chat_server.refusals == []
    engine.close()


@pytest.mark.parametrize("document", [{"choices": []}, {"object": "list"}, "<html>hello</html>"])
def test_a_server_that_speaks_something_else_is_one_line(document: object) -> None:
    with serving(lambda _: (200, document)) as server:
        engine = open_engine(GenerationSettings(engine="openai", base_url=server.url), "tiny")
        with pytest.raises(EngineError, match="must answer with a chat completion, but: ") as caught:
            engine.generate(ASK, ONE)
        assert "\n" not in str(caught.value)
        engine.close()


def test_a_server_gets_the_key_of_its_own_variable_and_no_other(
    chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-this-server")
    for key, sent in (("secret", "Bearer secret"), ("", "Bearer none")):
        monkeypatch.setenv("THIS_SERVERS_KEY", key)
        settings = GenerationSettings(engine="openai", base_url=chat_server.url, api_key_variable="THIS_SERVERS_KEY")
        engine = open_engine(settings, "tiny")
        engine.generate(ASK, ONE)
        assert chat_server.authorizations[-1] == sent
        engine.close()


def test_a_prompt_that_was_refused_is_answered_once_the_limit_is_raised(llama: Path, tmp_path: Path) -> None:
    long = [Request("long", user("schools " * 40))]
    for limit, refused in ((20, ("long",)), (500, ())):
        settings = CPU.model_copy(update={"max_prompt_tokens": limit})
        engine = open_engine(settings, llama, cache=tmp_path / "cache.sqlite")
        [[completion]] = engine.generate(long, ONE)
        [scores] = engine.choice_logprobs(long, ("yes", "no"))
        assert engine.overlong == refused
        assert (completion.token_count > 0) == (not refused)
        assert (scores[0] != scores[1]) == (not refused)
        engine.close()


def test_a_server_without_the_model_is_one_line_and_asked_once(chat_server: Any) -> None:
    engine = open_engine(GenerationSettings(engine="openai", base_url=chat_server.url), "unknown")
    before = len(chat_server.bodies)
    with pytest.raises(EngineError, match="must accept requests for 'unknown', but said 404"):
        engine.generate(ASK, ONE)
    assert len(chat_server.bodies) == before + 1
    engine.close()


def test_equal_checkpoints_in_two_folders_are_one_model(llama: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(llama, tmp_path / "copy"))
    assert engine_identity(CPU, copy) == engine_identity(CPU, llama)


def test_an_edited_chat_template_makes_another_model(llama: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(llama, tmp_path / "copy"))
    before = engine_identity(CPU, copy)
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + "\n")
    assert engine_identity(CPU, copy) != before


def test_the_number_format_is_part_of_the_model_and_the_batch_size_is_not(llama: Path) -> None:
    identity = engine_identity(CPU, llama)
    assert engine_identity(CPU.model_copy(update={"decode_rows": 1}), llama) == identity
    assert engine_identity(CPU.model_copy(update={"dtype": "bfloat16"}), llama) != identity


def test_a_bfloat16_engine_draws_and_scores(llama: Path) -> None:
    engine = open_engine(GenerationSettings(device="cpu", dtype="bfloat16"), llama)
    assert len(engine.generate(ASK, Sampling(n=3, max_new_tokens=4))[0]) == 3
    assert len(engine.choice_logprobs(ASK, ("yes", "no"))[0]) == 2
    engine.close()


def test_importing_the_package_loads_no_model_library() -> None:
    heavy = "{'torch', 'transformers', 'vllm', 'openai'}"
    code = (
        f"import sys, mats_sql.generation.open, mats_sql.generation.engine; print(sorted({heavy} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
