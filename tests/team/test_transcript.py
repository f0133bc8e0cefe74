"""What is kept of an answer gives back every prompt that an agent got, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mats_sql.agents.critique import Validator
from mats_sql.agents.messages import Messages
from mats_sql.config import Policy
from mats_sql.generation.engine import Completion, Engine, Request, Sampling
from mats_sql.parquet import read_records, write_records
from mats_sql.rollout.sample import Source
from mats_sql.sql.executor import SqlExecutor
from mats_sql.team.flow import Agents, Team
from mats_sql.team.transcript import Spoken, spoken, turns
from tests.lab_source import GENERATION


@dataclass
class Overheard:
    """An engine that answers as another does and remembers what it was asked."""

    engine: Engine
    asked: set[Messages] = field(default_factory=set)

    @property
    def overlong(self) -> tuple[str, ...]:
        return self.engine.overlong

    @property
    def starts(self) -> int:
        return self.engine.starts

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[tuple[Completion, ...]]:
        self.asked |= {request.messages for request in requests}
        return self.engine.generate(requests, sampling)

    def choice_logprobs(self, requests: Sequence[Request], choices: tuple[str, ...]) -> list[tuple[float, ...]]:
        self.asked |= {request.messages for request in requests}
        return self.engine.choice_logprobs(requests, choices)

    def close(self) -> None:
        self.engine.close()


@pytest.mark.parametrize("gate", ["always", "on_complaint"])
def test_the_turns_hold_the_prompts_that_the_agents_got(
    engine: Engine, executor: SqlExecutor, source: Source, gate: str, tmp_path: Path
) -> None:
    heard = Overheard(engine)
    agents = Agents(heard, dict.fromkeys(Validator, heard), heard, heard)
    policy = Policy.model_validate({"k": 3, "gate": gate, "pool": "keep_both"})
    tasks = list(source.tasks.values())[:4]
    answers = Team(agents, policy, GENERATION, executor, seed=5).answer_many(tasks)
    path = tmp_path / "transcript.parquet"
    write_records([row for answer in answers for row in spoken(answer)], Spoken, path)
    kept = read_records(Spoken, path)
    shown: set[Messages] = set()
    for task in tasks:
        said = turns(task, [row for row in kept if row.question_id == task.question.question_id])
        shown |= {turn.messages for turn in said}
        samples = [sample for turn in said if turn.agent == "planner" for sample in turn.samples]
        assert sorted(samples) == [0, 1, 2]
    assert shown == heard.asked
