"""The cache of completions on disk: what its keys hold, and what survives a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.agents.messages import Messages, user
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.engine import Completion

PROMPT = user("how many schools")
ANSWER = Completion("select count(*) from schools", 7, finished=True)

KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from mats_sql.agents.messages import user
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.engine import Completion
cache = CompletionCache(Path(sys.argv[1]), "model")
for seed in range(2000):
    cache.add_completion((user("q"), seed), 1.0, 8, Completion(f"answer {seed}", 2, True))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def cache(tmp_path: Path) -> CompletionCache:
    """An empty cache of one model."""
    return CompletionCache(tmp_path / "cache.sqlite", "model")


def _known(cache: CompletionCache, prompt: Messages, seed: int | None, temperature: float, tokens: int) -> bool:
    return bool(cache.completions([(prompt, seed)], temperature, tokens))


def test_a_greedy_answer_is_known_at_every_temperature(cache: CompletionCache) -> None:
    cache.add_completion((PROMPT, None), 1.0, 8, ANSWER)
    assert cache.completions([(PROMPT, None)], 0.0, 8) == {(PROMPT, None): ANSWER}


def test_a_drawn_answer_is_known_for_its_own_seed_temperature_length_and_prompt_only(cache: CompletionCache) -> None:
    cache.add_completion((PROMPT, 3), 1.0, 8, ANSWER)
    assert _known(cache, PROMPT, 3, 1.0, 8)
    assert not _known(cache, PROMPT, 4, 1.0, 8)
    assert not _known(cache, PROMPT, None, 1.0, 8)
    assert not _known(cache, PROMPT, 3, 0.5, 8)
    assert not _known(cache, PROMPT, 3, 1.0, 9)
    assert not _known(cache, user("how many schools?"), 3, 1.0, 8)


def test_models_do_not_share_answers(cache: CompletionCache, tmp_path: Path) -> None:
    cache.add_completion((PROMPT, 3), 1.0, 8, ANSWER)
    cache.commit()
    assert not _known(CompletionCache(tmp_path / "cache.sqlite", "another model"), PROMPT, 3, 1.0, 8)


def test_scores_are_known_for_their_own_choices_only(cache: CompletionCache) -> None:
    cache.add_score(PROMPT, ("yes", "no"), (-0.1, -2.3))
    assert cache.scores([PROMPT], ("yes", "no")) == {PROMPT: (-0.1, -2.3)}
    assert cache.scores([PROMPT], ("no", "yes")) == {}


@given(text=st.text(st.characters(exclude_categories=["Cs"])), count=st.integers(0, 99), finished=st.booleans())
def test_every_completion_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, text: str, count: int, finished: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.sqlite"
    cache = CompletionCache(path, "model")
    cache.add_completion((PROMPT, 1), 1.0, 8, Completion(text, count, finished))
    cache.close()
    again = CompletionCache(path, "model")
    assert again.completions([(PROMPT, 1)], 1.0, 8)[PROMPT, 1] == Completion(text, count, finished)
    again.close()


def test_a_killed_writer_loses_at_most_its_last_group(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    prompt = user("q")
    survived = CompletionCache(path, "model").completions([(prompt, seed) for seed in range(2000)], 1.0, 8)
    assert len(survived) > 2000 - 512
    assert all(completion.text == f"answer {seed}" for (_, seed), completion in survived.items())


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to look at" * 99, b"SQLite format 3\0" * 64]
)
def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(content)
    cache = CompletionCache(path, "model")
    cache.add_completion((PROMPT, 1), 1.0, 8, ANSWER)
    assert _known(cache, PROMPT, 1, 1.0, 8)
    assert (tmp_path / "cache.sqlite.damaged").read_bytes() == content


def test_two_processes_may_write_to_one_file(tmp_path: Path) -> None:
    one, two = (CompletionCache(tmp_path / "cache.sqlite", "model") for _ in range(2))
    one.add_completion((PROMPT, 1), 1.0, 8, ANSWER)
    one.commit()
    two.add_completion((PROMPT, 2), 1.0, 8, ANSWER)
    two.commit()
    assert len(one.completions([(PROMPT, 1), (PROMPT, 2)], 1.0, 8)) == 2


def test_entries_that_wait_to_be_written_hold_up_no_other_process(cache: CompletionCache, tmp_path: Path) -> None:
    other = CompletionCache(tmp_path / "cache.sqlite", "model")
    other._connection.execute("pragma busy_timeout = 0")  # fail at once where the file is locked
    cache.add_completion((PROMPT, 1), 1.0, 8, ANSWER)
    other.add_completion((PROMPT, 2), 1.0, 8, ANSWER)
    other.commit()
    cache.commit()
    assert len(other.completions([(PROMPT, 1), (PROMPT, 2)], 1.0, 8)) == 2


def test_an_entry_is_known_before_it_is_written(cache: CompletionCache) -> None:
    cache.add_completion((PROMPT, 1), 1.0, 8, ANSWER)
    assert _known(cache, PROMPT, 1, 1.0, 8)
