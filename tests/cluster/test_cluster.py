"""On a Ray cluster of two nodes: the answers, scores and verdicts of one machine, also when a node dies.

One cluster of this machine's own serves the module. Every engine call starts its actors anew, so there are few.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mats_sql.agents.messages import user
from mats_sql.cluster import Node
from mats_sql.config import GenerationSettings, SqlLimits
from mats_sql.errors import ClusterError, ModelError
from mats_sql.generation.cluster_engine import cut, engine_places
from mats_sql.generation.engine import Completion, Request, Sampling
from mats_sql.generation.open import open_engine
from mats_sql.sql.cluster_processes import ClusterProcesses
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge, JudgeItem
from tests.cluster.conftest import TwoNodes, needs_ray, wait_until
from tests.generation.conftest import make_llama

pytestmark = pytest.mark.xdist_group("ray")

WORDS = "which schools in Alameda have more than 500 students order by name limit 10".split()  # noqa: SIM905
REQUESTS = [
    Request(f"question-{index}", user(f"{index}: " + " ".join(WORDS[: 1 + index % 9] * (1 + index % 4))))
    for index in range(16)
]
LONG = Request("long", user("schools " * 450))
SAMPLING = Sampling(n=4, temperature=1.0, max_new_tokens=10, seed=5)
CHOICES = ("yes", "no")
SETTINGS = GenerationSettings(device="cpu", max_prompt_tokens=400, decode_rows=8)
Scores = list[tuple[float, ...]]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama checkpoint."""
    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def here(llama: Path) -> tuple[list[tuple[Completion, ...]], Scores]:
    """What the engine of this process draws and scores."""
    engine = open_engine(SETTINGS, llama)
    return engine.generate([*REQUESTS, LONG], SAMPLING), engine.choice_logprobs(REQUESTS, CHOICES)


@pytest.fixture(scope="module")
def scores_of_two(nodes: TwoNodes, llama: Path) -> Scores:  # noqa: ARG001
    """What two nodes score."""
    return open_engine(SETTINGS, llama, cluster="ray").choice_logprobs(REQUESTS, CHOICES)


@pytest.mark.slow
@needs_ray
@pytest.mark.usefixtures("nodes")
def test_two_nodes_draw_what_this_machine_draws_and_the_cache_keeps_it(
    llama: Path, here: tuple[list[tuple[Completion, ...]], Scores], tmp_path: Path
) -> None:
    heard: list[tuple[int, int]] = []
    cache = tmp_path / "completions.sqlite"
    engine = open_engine(SETTINGS, llama, cluster="ray", cache=cache, on_drawn=lambda *told: heard.append(told))
    assert engine.generate([*REQUESTS, LONG], SAMPLING) == here[0]
    assert engine.overlong == ("long",)
    assert heard == [(done, 68) for done in range(1, 69)]
    assert 1 <= engine.starts <= 2
    engine.close()
    again = open_engine(SETTINGS, llama, cache=cache)
    assert again.generate(REQUESTS, SAMPLING) == here[0][:-1]
    assert again.starts == 0
    again.close()


@pytest.mark.slow
@needs_ray
def test_scores_of_two_nodes_are_those_of_this_machine_up_to_rounding(
    scores_of_two: Scores, here: tuple[list[tuple[Completion, ...]], Scores]
) -> None:
    assert [list(row) for row in scores_of_two] == [pytest.approx(list(row), abs=1e-5) for row in here[1]]


@pytest.mark.slow
@needs_ray
@pytest.mark.usefixtures("nodes")
def test_an_error_of_a_node_is_one_line_that_names_it(tmp_path: Path) -> None:
    torn = make_llama(tmp_path)
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    engine = open_engine(SETTINGS, torn, cluster="ray")
    with pytest.raises(ModelError, match=f"weights must load, but {torn}.*on node .*cluster: ray") as caught:
        engine.generate(REQUESTS[:1], SAMPLING)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@needs_ray
def test_an_engine_actor_killed_while_it_draws_costs_no_draw(
    nodes: TwoNodes, llama: Path, here: tuple[list[tuple[Completion, ...]], Scores]
) -> None:
    def kill_one() -> int:
        process = nodes.first_named("EngineActor.answer")
        os.kill(process, signal.SIGKILL)
        return process

    engine = open_engine(SETTINGS, llama, cluster="ray")
    with ThreadPoolExecutor() as beside:
        killed = beside.submit(kill_one)
        assert engine.generate([*REQUESTS, LONG], SAMPLING) == here[0]
    wait_until(lambda: nodes.named("EngineActor") == [], f"no engine is left, {killed.result()} was killed")


@pytest.mark.slow
@needs_ray
def test_verdicts_of_two_nodes_are_those_of_this_machine_also_when_an_actor_is_killed(
    nodes: TwoNodes, tmp_path: Path
) -> None:
    items = _items(tmp_path / "numbers.sqlite")
    with SqlExecutor(SqlLimits(), 1) as executor, Judge(executor, None) as judge:
        expected = list(judge.execute_and_judge(items))
    with SqlExecutor(SqlLimits(), 1, cluster="ray") as executor, Judge(executor, None) as judge:
        answers = judge.execute_and_judge(items)
        first = next(answers)
        assert isinstance(executor.processes, ClusterProcesses)
        assert len(executor.processes._actors) == 2
        os.kill(nodes.first_named("SqlActor"), signal.SIGKILL)
        found = [first, *answers]
    assert [_without_time(*answer) for answer in found] == [_without_time(*answer) for answer in expected]


@pytest.mark.slow
@needs_ray
def test_a_lost_nodes_shards_are_done_again_and_one_node_gives_the_same_bytes(
    nodes: TwoNodes, llama: Path, here: tuple[list[tuple[Completion, ...]], Scores], scores_of_two: Scores
) -> None:
    lost: list[int] = []

    def lose(done: int, _total: int) -> None:
        if not lost:
            lost.append(done)
            nodes.lose()

    engine = open_engine(SETTINGS, llama, cluster="ray", on_drawn=lose)
    assert engine.generate([*REQUESTS, LONG], SAMPLING) == here[0]
    assert lost == [1]
    assert engine.choice_logprobs(REQUESTS, CHOICES) == scores_of_two


@pytest.mark.parametrize("rows", [1, 3, 8, 1000])
def test_a_cut_has_every_item_once_in_order_and_depends_on_the_work_alone(rows: int) -> None:
    items = [index % 7 + 1 for index in range(200)]
    shards = cut(items, lambda size: size, rows)
    assert [item for shard in shards for item in shard] == items
    room = max(rows, min(4 * rows, sum(items) // 64))
    assert all(sum(shard) <= room or len(shard) == 1 for shard in shards)


def test_a_cut_of_nothing_is_nothing() -> None:
    assert cut([], lambda _: 1, 8) == []


GPUS = (Node("a", 16, 4), Node("b", 16, 3))


@pytest.mark.parametrize(
    ("settings", "found", "engines", "each"),
    [
        ({}, GPUS, 7, {"num_gpus": 1}),
        ({"engine": "vllm", "tensor_parallel_size": 2}, GPUS, 3, {"num_gpus": 2}),
        ({"device": "cpu", "engine_cpus": 6}, GPUS, 4, {"num_cpus": 6}),
        ({"engine_cpus": 4}, (Node("a", 7, 0), Node("b", 8, 0)), 3, {"num_cpus": 4}),
    ],
)
def test_an_engine_has_its_own_gpus_or_cores(
    settings: dict[str, Any], found: tuple[Node, ...], engines: int, each: dict[str, int]
) -> None:
    places = engine_places(GenerationSettings(**settings), found)
    assert (places.engines, places.each) == (engines, each)


def test_a_cluster_without_room_for_an_engine_is_one_line() -> None:
    settings = GenerationSettings(engine="vllm", tensor_parallel_size=8)
    with pytest.raises(ClusterError, match="tensor_parallel_size=8 and the largest has 4 GPUs; lower it"):
        engine_places(settings, GPUS)


def test_without_ray_a_cluster_is_one_line(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else found(name))
    for opened in (
        lambda: open_engine(SETTINGS, llama, cluster="ray"),
        lambda: SqlExecutor(SqlLimits(), 1, cluster="ray"),
    ):
        with pytest.raises(ClusterError, match=r"it is not installed; pip install 'mats-sql\[ray\]'"):
            opened()


def _items(path: Path) -> list[JudgeItem]:
    """Return 300 candidates for two golds on a new database: right, wrong, failing and missing ones."""
    with sqlite3.connect(path) as connection:
        connection.execute("create table numbers (n integer, word text)")
        connection.executemany("insert into numbers values (?, ?)", [(n, f"word {n % 5}") for n in range(50)])
    connection.close()
    golds = ("select n from numbers where n < 10", "select count(*) from numbers group by word")
    return [
        JudgeItem(path, golds[index % 2], None if index % 50 == 49 else f"select n from numbers where n < {index % 21}")
        if index % 7
        else JudgeItem(path, golds[index % 2], f"select missing_{index} from numbers")
        for index in range(300)
    ]


def _without_time(execution: Any, judgement: Any) -> tuple[Any, ...]:
    return (execution.outcome, execution.preview, execution.digest, execution.error, judgement)
