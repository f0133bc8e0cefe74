"""A whole team under other golds: every prompt that any of its engines receives stays the same, byte for byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mats_sql.agents.critique import Validator
from mats_sql.benchmark.bird import read_bird
from mats_sql.choices import Gate, PoolRule, SelectorRule
from mats_sql.config import BenchmarkSettings, Policy
from mats_sql.generation.engine import Completion, Engine, Request, Sampling
from mats_sql.lab.generator import write_lab
from mats_sql.pipeline.questions import source
from mats_sql.rollout.sample import Source
from mats_sql.sql.executor import SqlExecutor
from mats_sql.team.flow import Agents, Task, Team
from tests.lab_source import GENERATION, LAB

QUESTIONS = 4
POLICY = Policy(k=2, gate=Gate.ALWAYS, pool=PoolRule.KEEP_BOTH, selector=SelectorRule.TRAINED)


class Listening:
    """A real engine, and everything that was said to it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.heard: list[object] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[tuple[Completion, ...]]:
        self.heard += [*requests, sampling]
        return self._engine.generate(requests, sampling)

    def choice_logprobs(self, requests: Sequence[Request], choices: tuple[str, ...]) -> list[tuple[float, ...]]:
        self.heard += [*requests, choices]
        return self._engine.choice_logprobs(requests, choices)

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True, slots=True)
class Heard:
    """What each agent of a team was told while it answered, as bytes."""

    planner: bytes
    select: bytes
    condition: bytes
    fixer: bytes
    selector: bytes


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("benchmark")
    write_lab(root, LAB)
    return root


def read(root: Path) -> Source:
    found = read_bird(root, "dev")
    return source(found, [question.question_id for question in found.questions[:QUESTIONS]], BenchmarkSettings())


def with_golds(benchmark: Path, root: Path, change: Callable[[list[str]], list[str]]) -> Source:
    """Return the same questions from a copy of the benchmark whose golds were changed in its file."""
    shutil.copytree(benchmark, root)
    file = root / "dev.json"
    items = json.loads(file.read_text("utf-8"))
    golds = [item["SQL"] for item in items]
    changed = change(golds)
    file.write_text(json.dumps([item | {"SQL": gold} for item, gold in zip(items, changed, strict=True)]), "utf-8")
    found = read(root)
    assert all(gold != golds[index] for index, gold in enumerate(found.golds.values())), "no gold may stay"
    return found


def told(engine: Engine, executor: SqlExecutor, tasks: Sequence[Task]) -> Heard:
    """Return what every agent heard while a team whose agents are all the base model answered."""
    planner, select, condition, fixer, selector = (Listening(engine) for _ in range(5))
    validators: dict[Validator, Engine] = {Validator.SELECT: select, Validator.CONDITION: condition}
    team = Team(Agents(planner, validators, fixer, selector), POLICY, GENERATION, executor, seed=3)
    team.answer_many(tasks)
    return Heard(*(repr(one.heard).encode("utf-8") for one in (planner, select, condition, fixer, selector)))


@pytest.fixture(scope="module")
def as_written(benchmark: Path, engine: Engine, executor: SqlExecutor) -> Heard:
    heard = told(engine, executor, list(read(benchmark).tasks.values()))
    for agent in Heard.__slots__:
        assert getattr(heard, agent).count(b"Request(") >= QUESTIONS, f"the {agent} must be asked, or nothing is tested"
    return heard


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda golds: [*golds[1:], golds[0]], id="each question has another one's gold"),
        pytest.param(lambda golds: [""] * len(golds), id="no question has a gold"),
    ],
)
def test_a_team_under_other_golds_is_told_the_same_byte_for_byte(
    benchmark: Path,
    tmp_path: Path,
    engine: Engine,
    executor: SqlExecutor,
    as_written: Heard,
    change: Callable[[list[str]], list[str]],
) -> None:
    other = with_golds(benchmark, tmp_path / "benchmark", change)
    original = read(benchmark)
    assert [task.schema_text for task in other.tasks.values()] == [t.schema_text for t in original.tasks.values()]
    # The database files lie elsewhere but are the same bytes; a prompt that named their place would differ too.
    assert told(engine, executor, list(other.tasks.values())) == as_written


def test_a_gold_that_leaks_into_a_question_is_heard(
    benchmark: Path, engine: Engine, executor: SqlExecutor, as_written: Heard
) -> None:
    found = read(benchmark)
    leaking = [
        replace(task, question=replace(task.question, evidence=found.golds[task.question.question_id]))
        for task in found.tasks.values()
    ]
    assert told(engine, executor, leaking) != as_written
