"""A chat server that is killed while it draws: what it costs when it comes back, and when it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mats_sql.agents.messages import user
from mats_sql.command import one_line_errors
from mats_sql.config import GenerationSettings
from mats_sql.generation.draws import OnDrawn
from mats_sql.generation.engine import Completion, Engine, Request, Sampling
from mats_sql.generation.open import open_engine
from tests.generation.chat_process import ChatProcess, chat_process

ASKED = [Request(f"q{number}", user(f"which schools, {number}")) for number in range(6)]
DRAWN = Sampling(n=5, temperature=1.0, max_new_tokens=48)
DRAWS = len(ASKED) * DRAWN.n


@pytest.fixture(scope="module")
def server(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatProcess]:
    """A server in a process of its own; each test leaves it running."""
    with chat_process(llama, tmp_path_factory.mktemp("server") / "log") as started:
        yield started


@pytest.fixture(scope="module")
def whole(server: ChatProcess) -> list[tuple[Completion, ...]]:
    """What is drawn where nothing breaks."""
    engine = opened(server, attempts=1)
    drawn = engine.generate(ASKED, DRAWN)
    engine.close()
    return drawn


def opened(server: ChatProcess, *, attempts: int, cache: Path | None = None, on_drawn: OnDrawn | None = None) -> Engine:
    """Return an engine that asks the server for two answers at a time."""
    settings = GenerationSettings(engine="openai", base_url=server.url, attempts=attempts, concurrency=2)
    return open_engine(settings, "tiny", cache=cache, on_drawn=on_drawn)


def at_the_third(break_it: Callable[[], None]) -> OnDrawn:
    """Break something when the third answer has come."""

    def on_drawn(done: int, _: int) -> None:
        if done == 3:
            break_it()

    return on_drawn


def test_a_chat_server_killed_while_it_draws_and_started_again_costs_a_wait(
    server: ChatProcess, whole: list[tuple[Completion, ...]]
) -> None:
    def restart() -> None:
        server.kill()
        server.start()  # nobody waits for it but the engine

    engine = opened(server, attempts=60, on_drawn=at_the_third(restart))
    assert engine.generate(ASKED, DRAWN) == whole
    engine.close()


def test_a_chat_server_that_stays_away_is_one_line_and_what_it_drew_is_not_drawn_again(
    server: ChatProcess, whole: list[tuple[Completion, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache.sqlite"
    engine = opened(server, attempts=2, cache=cache, on_drawn=at_the_third(server.kill))
    with pytest.raises(SystemExit) as ended, one_line_errors():
        engine.generate(ASKED, DRAWN)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: base_url must be reachable, but {server.url}: ")
    assert line.endswith("; start the server; tried 2 times")
    kept = engine.computed
    assert 3 <= kept < DRAWS
    engine.close()
    server.start()
    server.wait()
    again = opened(server, attempts=1, cache=cache)
    assert again.generate(ASKED, DRAWN) == whole
    assert again.computed == DRAWS - kept
    again.close()
