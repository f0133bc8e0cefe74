"""When a checkpoint is in memory: from the first draw that no cache answers until another one needs the room."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mats_sql.agents.messages import user
from mats_sql.config import GenerationSettings
from mats_sql.generation.engine import Engine, Request, Sampling
from mats_sql.generation.loaded import LoadedModels
from mats_sql.generation.open import open_engine

ASK = [Request("q", user("which schools"))]
ONE = Sampling(temperature=0, max_new_tokens=2)
CHOICES = ("yes", "no")
CPU = GenerationSettings(device="cpu")


class Checkpoint:
    """Says of itself whether it is loaded."""

    def __init__(self) -> None:
        self.loaded = False
        self.starts = 0

    def load(self) -> None:
        self.loaded = True
        self.starts += 1

    def unload(self) -> None:
        self.loaded = False


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(resources: ExitStack, model: Path, settings: GenerationSettings = CPU, cache: Path | None = None) -> Engine:
    engine = open_engine(settings, model, cache=cache)
    resources.callback(engine.close)
    return engine


def test_opening_loads_nothing_and_the_first_draw_does(llama: Path, resources: ExitStack) -> None:
    engine = opened(resources, llama)
    assert engine.starts == 0
    engine.generate(ASK, ONE)
    engine.choice_logprobs(ASK, CHOICES)
    assert engine.starts == 1


def test_the_first_score_loads_too(llama: Path, resources: ExitStack) -> None:
    engine = opened(resources, llama)
    engine.choice_logprobs(ASK, CHOICES)
    assert engine.starts == 1


def test_what_the_cache_answers_starts_nothing(llama: Path, tmp_path: Path, resources: ExitStack) -> None:
    cache = tmp_path / "cache.sqlite"
    first = opened(resources, llama, cache=cache)
    expected = first.generate(ASK, ONE), first.choice_logprobs(ASK, CHOICES)
    again = opened(resources, llama, cache=cache)
    assert (again.generate(ASK, ONE), again.choice_logprobs(ASK, CHOICES)) == expected
    assert again.starts == 0
    again.generate([Request("new", user("what is new"))], ONE)
    assert again.starts == 1


def test_refusing_a_prompt_starts_nothing(llama: Path, resources: ExitStack) -> None:
    engine = opened(resources, llama, CPU.model_copy(update={"max_prompt_tokens": 5}))
    engine.generate(ASK, ONE)
    engine.choice_logprobs(ASK, CHOICES)
    assert engine.overlong == ("q",)
    assert engine.starts == 0


def test_with_room_for_one_each_start_unloads_the_other_and_answers_stay(
    llama: Path, qwen2: Path, resources: ExitStack
) -> None:
    alone = [opened(resources, model).generate(ASK, ONE) for model in (llama, qwen2)]
    settings = CPU.model_copy(update={"loaded_models": 1})
    one, two = opened(resources, llama, settings), opened(resources, qwen2, settings)
    for turn in (1, 2):
        assert [one.generate(ASK, ONE), two.generate(ASK, ONE)] == alone
        assert (one.starts, two.starts) == (turn, turn)


def test_a_few_models_stay_loaded_together_on_a_cpu(llama: Path, qwen2: Path, resources: ExitStack) -> None:
    engines = [opened(resources, model) for model in (llama, qwen2, llama, qwen2, llama)]
    for _ in range(2):
        for engine in engines:
            engine.generate(ASK, ONE)
    assert [engine.starts for engine in engines] == [1] * 5


def test_an_unloaded_model_is_freed_at_once(llama: Path, qwen2: Path, resources: ExitStack) -> None:
    settings = CPU.model_copy(update={"loaded_models": 1})
    one = opened(resources, llama, settings)
    one.generate(ASK, ONE)
    weights = weakref.ref(one._model._model)  # type: ignore[attr-defined]
    assert weights() is not None
    opened(resources, qwen2, settings).generate(ASK, ONE)
    assert weights() is None


def test_an_engine_that_is_closed_is_freed_and_gives_its_place_away(llama: Path) -> None:
    engine = open_engine(CPU, llama)
    engine.generate(ASK, ONE)
    weights = weakref.ref(engine._model._model)  # type: ignore[attr-defined]
    engine.close()
    assert weights() is None


def test_the_longest_unused_leaves_first() -> None:
    models = LoadedModels()
    first, second, third = Checkpoint(), Checkpoint(), Checkpoint()
    for checkpoint in (first, second, first, third):
        with models.holding(checkpoint, 2):
            assert checkpoint.loaded
    assert (first.loaded, second.loaded, third.loaded) == (True, False, True)
    assert first.starts == 1


def test_a_smaller_limit_makes_more_room() -> None:
    models = LoadedModels()
    checkpoints = [Checkpoint() for _ in range(3)]
    for checkpoint in checkpoints:
        with models.holding(checkpoint, 3):
            pass
    last = Checkpoint()
    with models.holding(last, 1):
        assert [checkpoint.loaded for checkpoint in checkpoints] == [False] * 3


def test_what_is_computing_does_not_leave() -> None:
    models = LoadedModels()
    busy, other = Checkpoint(), Checkpoint()
    with models.holding(busy, 1):
        with models.holding(other, 1):
            assert busy.loaded
            assert other.loaded
        with models.holding(busy, 1):
            pass
    with models.holding(Checkpoint(), 1):
        assert not busy.loaded
        assert not other.loaded


def test_what_does_not_load_holds_no_place() -> None:
    class Broken(Checkpoint):
        def load(self) -> None:
            raise OSError("torn")

    models = LoadedModels()
    broken, kept = Broken(), Checkpoint()
    with models.holding(kept, 2):
        pass
    with pytest.raises(OSError, match="torn"), models.holding(broken, 2):
        pass
    with models.holding(Checkpoint(), 2):
        assert kept.loaded
