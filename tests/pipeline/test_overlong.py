"""Prompts that are too long for their model are told: a metric, a line, and the ids in a table."""

from __future__ import annotations

import json

import mlflow
import pytest

from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.questions import dev_source
from mats_sql.pipeline.workspace import Workspace


def test_an_evaluation_names_every_question_whose_prompt_was_too_long(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    team = next(results.teams(workspace, "planner"))
    # an answer that is known already would be given whatever the limit is: the length of answers makes these new
    narrow = workspace.experiment.generation.model_copy(update={"max_prompt_tokens": 40, "plan_tokens": 191})
    short = Workspace(
        workspace.experiment.model_copy(update={"generation": narrow}), workspace.store, workspace.progress
    )
    with short:
        result = results.evaluation(short, team)
    dev = dev_source(workspace.experiment, steps.questions(workspace)).tasks
    assert result.metrics["overlong_prompts"] == len(dev)
    assert f"{len(dev)} prompts over generation.max_prompt_tokens=40" in capsys.readouterr().err
    run = workspace.store.run(result.run_id)
    table = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/overlong_prompts.json"))
    assert sorted(row[1] for row in table["data"]) == sorted(f"plan:{key}" for key in dev)
    assert {row[0] for row in table["data"]} == {"planner"}


def test_an_evaluation_without_such_prompts_has_no_such_metric(workspace: Workspace) -> None:
    team = next(results.teams(workspace, "planner"))
    assert "overlong_prompts" not in results.evaluation(workspace, team).metrics
