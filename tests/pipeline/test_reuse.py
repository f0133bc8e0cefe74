"""What decides that a finished stage is used again: settings, inputs, and the versions of prompts and teacher."""

from __future__ import annotations

import pytest

from mats_sql.agents.versions import PROMPT_VERSIONS
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import pairs, rollout, sft
from mats_sql.pipeline.assemble import Line
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.workspace import Workspace
from mats_sql.teaching.versions import TEACHER_VERSIONS
from mats_sql.tracking.stage import StageResult


def planner(workspace: Workspace) -> StageResult:
    return sft.sft_planner(workspace, steps.questions(workspace))


def plans(workspace: Workspace) -> StageResult:
    return rollout.rollout_plans(workspace, steps.questions(workspace), [steps.planner(workspace, Seeds())])


def test_a_finished_stage_is_reused_by_the_next_process(workspace: Workspace, again: Workspace) -> None:
    first, second = planner(workspace), planner(again)
    assert (second.reused, second.run_id) == (True, first.run_id)


def test_agents_are_trained_again_when_a_prompt_changes(
    workspace: Workspace, again: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = planner(workspace)
    monkeypatch.setattr(sft, "PROMPT_VERSIONS", {**PROMPT_VERSIONS, "planner": "planner-next"})
    after = planner(again)
    assert not after.reused
    assert after.run_id != before.run_id


def test_agents_are_trained_again_when_the_teacher_changes(
    workspace: Workspace, again: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = planner(workspace)
    monkeypatch.setattr(sft, "TEACHER_VERSIONS", {**TEACHER_VERSIONS, "rules": "rules-next"})
    assert planner(again).run_id != before.run_id


def test_a_pool_is_drawn_again_when_a_prompt_changes(
    workspace: Workspace, again: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plans(workspace)
    monkeypatch.setattr(rollout, "PROMPT_VERSIONS", {**PROMPT_VERSIONS, "fixer": "fixer-next"})
    assert plans(again).run_id != before.run_id


def test_pairs_are_joined_again_when_a_prompt_changes(
    workspace: Workspace, again: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = next(steps.lines(workspace.experiment))
    before = steps.fixer_pairs(workspace, line, Seeds())
    monkeypatch.setattr(pairs, "PROMPT_VERSIONS", {**PROMPT_VERSIONS, "fixer": "fixer-next"})
    assert steps.fixer_pairs(again, Line(line.critique), Seeds()).run_id != before.run_id


@pytest.fixture
def again(workspace: Workspace) -> Workspace:
    """The same experiment as another process sees it: nothing is remembered but what the store holds."""
    return Workspace(workspace.experiment, workspace.store, workspace.progress)
