"""Agents behind servers: which server each is asked at, and by what name it knows its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mats_sql.agents.critique import Validator
from mats_sql.agents.messages import user
from mats_sql.agents.names import AGENTS
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError
from mats_sql.generation.engine import Request, Sampling
from mats_sql.generation.open import engine_identity, open_engine
from mats_sql.team.folder import TeamSettings, open_team, write_team
from tests.chat_server import ChatServer, reply, serving

ASK = [Request("q", user("which schools"))]
ONE = Sampling(temperature=0, max_new_tokens=2)


def answering(text: str) -> Any:
    """Return a responder that always answers the same."""
    return lambda _: reply(text, 1, finished=True)


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(resources: ExitStack) -> ChatServer:
    return resources.enter_context(serving(answering("from the server")))


def at(server: ChatServer, **settings: object) -> GenerationSettings:
    return GenerationSettings.model_validate({"engine": "openai", "base_url": server.url, **settings})


def asked_for(server: ChatServer, settings: GenerationSettings, checkpoint: Path) -> list[str]:
    """Return the models' names that a server was asked for by one question to a checkpoint's engine."""
    engine = open_engine(settings, checkpoint)
    assert engine.generate(ASK, ONE)[0][0].text == "from the server"
    engine.close()
    return [body["model"] for body in server.bodies]


def test_a_folder_is_never_sent_as_a_models_name(server: ChatServer, tmp_path: Path) -> None:
    assert asked_for(server, at(server), tmp_path / "planner") == ["tiny"]


def test_a_named_model_is_asked_for_though_the_server_lists_others(server: ChatServer, tmp_path: Path) -> None:
    server.listed = ["large", "small"]
    assert asked_for(server, at(server, model="tiny"), tmp_path / "planner") == ["tiny"]


@pytest.mark.parametrize(
    ("listed", "offered"),
    [
        (["large", "tiny"], "offers large, tiny; set generation.model"),
        ([], "offers no list of models; set generation.model"),
        ([f"m{number}" for number in range(10)], "m6, m7 and 2 more; set"),
    ],
)
def test_a_model_must_be_named_unless_it_is_the_only_one(
    server: ChatServer, tmp_path: Path, listed: list[str], offered: str
) -> None:
    server.listed = listed
    with pytest.raises(EngineError, match=offered) as caught:
        open_engine(at(server), tmp_path / "planner")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_an_unknown_name_is_told_with_what_the_server_offers(server: ChatServer, tmp_path: Path) -> None:
    engine = open_engine(at(server, model="huge"), tmp_path / "planner")
    with pytest.raises(EngineError, match=r"for 'huge', but said 404: .*; check .* \(the server offers tiny\)"):
        engine.generate(ASK, ONE)
    engine.close()


def test_an_agent_is_asked_at_its_own_server_and_others_where_all_are() -> None:
    settings = GenerationSettings.model_validate(
        {
            "base_url": "http://all/v1",
            "model": "common",
            "api_key_variable": "KEY",
            "servers": {
                "planner": {"base_url": "http://big/v1", "model": "big", "api_key_variable": "BIG_KEY"},
                "validator": {"base_url": "http://critic/v1"},
                "selector": {"model": "chooser"},
            },
        }
    )
    asked = {agent: settings.of_agent(agent) for agent in AGENTS}
    assert {agent: own.engine for agent, own in asked.items()} == dict.fromkeys(AGENTS, "openai") | {
        "fixer": "transformers"
    }
    assert {agent: (own.base_url, own.model, own.api_key_variable) for agent, own in asked.items()} == {
        "planner": ("http://big/v1", "big", "BIG_KEY"),
        "select-validator": ("http://critic/v1", None, "OPENAI_API_KEY"),
        "condition-validator": ("http://critic/v1", None, "OPENAI_API_KEY"),
        "fixer": ("http://all/v1", "common", "KEY"),
        "selector": ("http://all/v1", "chooser", "KEY"),
    }


def test_a_validator_of_its_own_name_goes_before_both() -> None:
    servers = {"validator": {"model": "critic"}, "condition-validator": {"model": "checker"}}
    settings = GenerationSettings.model_validate({"base_url": "http://all/v1", "servers": servers})
    asked = [settings.of_agent(agent).model for agent in ("select-validator", "condition-validator")]
    assert asked == ["critic", "checker"]
    both = GenerationSettings.model_validate(
        {"base_url": "http://all/v1", "servers": {"validator": {"model": "critic"}}}
    )
    assert both.answer_settings() != settings.answer_settings()


def test_only_agents_have_servers() -> None:
    with pytest.raises(ValidationError, match="Input should be 'planner', 'validator', 'select-validator'"):
        GenerationSettings.model_validate({"servers": {"teacher": {"model": "large"}}})


def test_another_model_behind_a_server_makes_other_answers(server: ChatServer) -> None:
    plain = GenerationSettings().answer_settings()
    assert not plain.keys() & {"servers", "model", "quantization"}, "runs from before there were such settings stay"
    named = [at(server, model=name).answer_settings() for name in ("tiny", "huge")]
    assert named[0] != named[1]
    moved = at(server, model="tiny", base_url="http://elsewhere/v1")
    assert moved.answer_settings() == named[0], "a name stands for its model wherever it is served"
    assert at(server).answer_settings() != at(server, base_url="http://elsewhere/v1").answer_settings()
    own = [GenerationSettings.model_validate({"servers": {"planner": {"model": name}}}) for name in ("a", "b")]
    assert own[0].answer_settings() != own[1].answer_settings()
    assert engine_identity(at(server), "tiny") != engine_identity(at(server), "huge")


def test_a_team_asks_a_server_for_its_planner_and_its_own_checkpoint_for_the_rest(
    server: ChatServer, llama: Path, tmp_path: Path, resources: ExitStack
) -> None:
    generation = GenerationSettings.model_validate({"device": "cpu", "servers": {"planner": {"base_url": server.url}}})
    write_team(tmp_path / "team", {"planner": llama, "select-validator": llama}, TeamSettings(generation=generation))
    agents = open_team(tmp_path / "team", resources).agents
    assert agents.planner.generate(ASK, ONE)[0][0].text == "from the server"
    own = agents.validators[Validator.SELECT]
    assert own.generate(ASK, ONE)[0][0].text != "from the server"
    assert (agents.planner.starts, own.starts) == (0, 1)
    assert len(server.bodies) == 1
