"""Steps side by side: the same models and answers as one after the other, and one line when a process dies."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mats_sql.config import Experiment
from mats_sql.errors import TrainingError
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.ahead import do_ahead
from mats_sql.pipeline.assemble import TeamModels
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.store import connect

MODULE = "steps_of_a_test"
STEPS = """\
import os
import signal


def killed(workspace):
    os.kill(os.getpid(), signal.SIGKILL)


def refused(workspace):
    raise ValueError("not this one")


def quiet(workspace):
    pass
"""
FIRST = Seeds()


def side_by_side(experiment: Experiment) -> Experiment:
    return experiment.model_copy(update={"processes": 2})


def answers(workspace: Workspace, team: TeamModels) -> list[JudgedCandidate]:
    """Return a team's judged candidates."""
    return read_candidates(results.evaluation(workspace, team).outputs["candidates"])


@pytest.fixture
def own_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A module that child processes can import."""
    (tmp_path / f"{MODULE}.py").write_text(STEPS)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(MODULE)
    sys.modules.pop(MODULE, None)


@pytest.mark.slow
def test_steps_side_by_side_give_what_they_give_one_after_the_other(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {team.label: team for team in results.teams(workspace, "sft")}
    expected = [answers(workspace, team) for team in alone.values()]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = side_by_side(workspace.experiment.model_copy(update={"work_dir": tmp_path / "work"}))
    with Workspace(experiment, connect(experiment.name, experiment.work_dir), Progress()) as other:
        steps.plans(other, FIRST)
        fixer = functools.partial(steps.supervised_fixer, mode=experiment.fixers[0], seeds=FIRST)
        validators = [
            functools.partial(steps.supervised_validator, validator=one, seeds=FIRST) for one in steps.Validator
        ]
        do_ahead(other, [fixer, *validators])
        builders = [build for name in ("planner", "sft") for build in results.team_builders(experiment, name)]
        do_ahead(other, [functools.partial(results.built_evaluation, build=build) for build in builders])
        found = {team.label: team for team in results.teams(other, "sft")}
        assert [answers(other, team) for team in found.values()] == expected
        for label, team in found.items():
            assert {name: model.digest for name, model in team.agents().items()} == {
                name: model.digest for name, model in alone[label].agents().items()
            }


def test_a_killed_process_is_one_line(workspace: Workspace, own_steps: object) -> None:
    workspace.experiment = side_by_side(workspace.experiment)
    with pytest.raises(TrainingError, match=r"one was killed .*; start again, .* or set processes: 1"):
        do_ahead(workspace, [own_steps.killed, own_steps.quiet])


def test_what_a_step_raises_is_raised(workspace: Workspace, own_steps: object) -> None:
    workspace.experiment = side_by_side(workspace.experiment)
    with pytest.raises(ValueError, match="not this one"):
        do_ahead(workspace, [own_steps.quiet, own_steps.refused])
