"""What decides that a finished stage is used again: settings, inputs, and the versions of prompts and teacher."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mats_sql.agents.versions import PROMPT_VERSIONS
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import pairs, rollout, sft
from mats_sql.pipeline.assemble import Line, TeamModels, assemble
from mats_sql.pipeline.base_models import base_model
from mats_sql.pipeline.evaluate import evaluate
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.workspace import Workspace
from mats_sql.teaching.versions import TEACHER_VERSIONS
from mats_sql.tracking.stage import StageResult


def planner(workspace: Workspace) -> StageResult:
    return sft.sft_planner(workspace, base_model("lab"), steps.questions(workspace))


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


SPEED: list[tuple[str, dict[str, object]]] = [
    ("sql", {"workers": 3}),
    ("generation", {"decode_rows": 7}),
    ("generation", {"batch_tokens": 999}),
    ("generation", {"concurrency": 2, "attempts": 3, "timeout_s": 9.0}),
    ("generation", {"loaded_models": 1}),
    ("generation", {"gpu_memory_utilization": 0.5, "tensor_parallel_size": 2, "compiled": False}),
    ("generation", {"engine_cpus": 2}),
    ("experiment", {"cluster": "ray"}),
]
"""Settings by section; the section ``experiment`` is the top of the file."""


def with_setting(workspace: Workspace, section: str, changed: Mapping[str, object]) -> Workspace:
    """Return another process's view of the experiment with some settings of a section changed."""
    experiment, update = workspace.experiment, dict(changed)
    if section != "experiment":
        update = {section: getattr(experiment, section).model_copy(update=update)}
    return Workspace(experiment.model_copy(update=update), workspace.store, workspace.progress)


def assembled(workspace: Workspace) -> tuple[TeamModels, StageResult]:
    """Return a team of the base model, which needs no training."""
    base = base_model("lab")
    team = TeamModels("bare", planner=base, selector=base, validators={}, fixer=None)
    return team, assemble(workspace, team)


@pytest.mark.parametrize(("section", "changed"), SPEED, ids=lambda value: "-".join(value))
def test_a_team_and_its_evaluation_are_reused_when_only_speed_changes(
    workspace: Workspace, section: str, changed: Mapping[str, object]
) -> None:
    def evaluated(view: Workspace) -> tuple[StageResult, StageResult]:
        team, made = assembled(view)
        return made, evaluate(view, steps.questions(view), made.outputs["team"], team, validation_only=True)

    first = evaluated(workspace)
    with with_setting(workspace, section, changed) as tuned:
        second = evaluated(tuned)
    assert [result.reused for result in second] == [True, True]
    assert [result.run_id for result in second] == [result.run_id for result in first]


@pytest.mark.parametrize(
    "changed",
    [{"dtype": "bfloat16"}, {"engine": "vllm"}, {"quantization": "fp8"}, {"max_prompt_tokens": 99}],
    ids="-".join,
)
def test_a_team_is_another_when_other_answers_may_come(workspace: Workspace, changed: Mapping[str, object]) -> None:
    _, first = assembled(workspace)
    _, second = assembled(with_setting(workspace, "generation", changed))
    assert second.run_id != first.run_id
    assert second.outputs["team"].digest != first.outputs["team"].digest


@pytest.mark.parametrize(("section", "changed"), SPEED, ids=lambda value: "-".join(value))
def test_what_is_drawn_is_the_same_when_only_speed_changes(
    workspace: Workspace, section: str, changed: Mapping[str, object]
) -> None:
    settings = rollout.rollout_settings(workspace)
    assert rollout.rollout_settings(with_setting(workspace, section, changed)) == settings
    assert rollout.rollout_settings(with_setting(workspace, "generation", {"dtype": "float16"})) != settings


@pytest.fixture
def again(workspace: Workspace) -> Workspace:
    """The same experiment as another process sees it: nothing is remembered but what the store holds."""
    return Workspace(workspace.experiment, workspace.store, workspace.progress)
