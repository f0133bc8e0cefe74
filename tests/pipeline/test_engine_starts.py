"""A stage counts how often its engines started: what the cache of completions knows starts none."""

from __future__ import annotations

from mats_sql.agents.messages import user
from mats_sql.generation.engine import Request, Sampling
from mats_sql.lab.base import base_model_path
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.stage import StageKey, StageResult
from mats_sql.tracking.stage_run import StageRun


def asking(workspace: Workspace, question: str, turn: int) -> StageResult:
    """Run a stage that asks two agents, of one checkpoint each, the same question."""

    def compute(_: StageRun) -> None:
        for agent in ("select-validator", "fixer"):
            with workspace.engine(agent, base_model_path()) as engine:
                engine.generate([Request("q", user(question))], Sampling(temperature=0, max_new_tokens=2))

    settings = {"question": question, "turn": turn}
    return workspace.run(StageKey("asking", 1), title="asking", settings=settings, inputs={}, compute=compute)


def test_a_stage_counts_its_engine_starts_and_what_is_known_starts_none(workspace: Workspace) -> None:
    assert asking(workspace, "how many?", 1).metrics["engine_starts"] == 1, "equal checkpoints share what is known"
    assert asking(workspace, "how many?", 2).metrics["engine_starts"] == 0


def test_a_stage_without_engines_has_no_such_metric(workspace: Workspace) -> None:
    key = StageKey("idle", 1)
    idle = workspace.run(key, title="idle", settings={}, inputs={}, compute=lambda _: None)
    assert "engine_starts" not in idle.metrics
