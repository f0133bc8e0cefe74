"""Steps side by side, and draws in parts: the same as one after the other, and one line when a process dies."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mats_sql.config import Experiment
from mats_sql.errors import TrainingError
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.pipeline import ahead, results
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline.ahead import Part, all_but_a_lone_last, do_ahead, draw_ahead
from mats_sql.pipeline.assemble import TeamModels
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.rollout import rollout_plans
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import StageResult
from mats_sql.tracking.store import connect

MODULE = "steps_of_a_test"
STEPS = """\
import os
import signal


def killed_with_its_part(workspace, part):
    os.kill(os.getpid(), signal.SIGKILL)


def killed(workspace):
    os.kill(os.getpid(), signal.SIGKILL)


def refused(workspace):
    raise ValueError("not this one")


def quiet(workspace):
    pass
"""
FIRST = Seeds()

Elsewhere = Callable[[], AbstractContextManager[Workspace]]


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


@pytest.fixture
def elsewhere(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Open the same experiment with two processes, which draw in parts however few the tasks, on a store of its own."""

    @contextmanager
    def opened() -> Iterator[Workspace]:
        monkeypatch.setattr(ahead, "LEAST_TASKS", 2)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
        experiment = side_by_side(workspace.experiment.model_copy(update={"work_dir": tmp_path / "work"}))
        with Workspace(experiment, connect(experiment.name, experiment.work_dir), Progress()) as other:
            yield other

    return opened


def test_every_question_is_in_one_part() -> None:
    parts = [Part(number, 3).among(range(100)) for number in range(3)]
    assert sorted(question for part in parts for question in part) == list(range(100))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("processes", "taken"), [(1, 5), (2, 4), (3, 5), (4, 4), (5, 5), (8, 5)])
def test_a_last_step_that_would_run_alone_is_left_over(workspace: Workspace, processes: int, taken: int) -> None:
    workspace.experiment = workspace.experiment.model_copy(update={"processes": processes})
    steps_ahead = [functools.partial(print, number) for number in range(5)]
    assert list(all_but_a_lone_last(workspace, steps_ahead)) == steps_ahead[:taken]


def test_plans_drawn_in_parts_are_those_of_one_process(workspace: Workspace, elsewhere: Elsewhere) -> None:
    def drawn(view: Workspace) -> StageResult:
        base = steps.checkpoint(view, view.experiment.models.planner)
        return rollout_plans(view, steps.questions(view), [base])

    alone = drawn(workspace)
    with elsewhere() as other:
        in_parts = drawn(other)
    assert in_parts.outputs["plans"].digest == alone.outputs["plans"].digest
    assert (alone.metrics["engine_starts"], in_parts.metrics["engine_starts"]) == (1, 2)


def test_a_killed_part_is_one_line(elsewhere: Elsewhere, own_steps: object) -> None:
    with elsewhere() as other, pytest.raises(TrainingError, match=r"one was killed .*; start again, .* or set proc"):
        draw_ahead(other, own_steps.killed_with_its_part, 2)


@pytest.mark.slow
def test_steps_side_by_side_give_what_they_give_one_after_the_other(workspace: Workspace, elsewhere: Elsewhere) -> None:
    alone = {team.label: team for team in results.teams(workspace, "sft")}
    expected = [answers(workspace, team) for team in alone.values()]
    with elsewhere() as other:
        steps.plans(other, FIRST)
        fixer = functools.partial(steps.supervised_fixer, mode=other.experiment.fixers[0], seeds=FIRST)
        validators = [
            functools.partial(steps.supervised_validator, validator=one, seeds=FIRST) for one in steps.Validator
        ]
        do_ahead(other, [fixer, *validators])
        builders = [build for name in ("planner", "sft") for build in results.team_builders(other.experiment, name)]
        do_ahead(other, [functools.partial(results.built_evaluation, build=build) for build in builders])
        found = {team.label: team for team in results.teams(other, "sft")}
        assert [answers(other, team) for team in found.values()] == expected
        for label, team in found.items():
            assert {name: model.digest for name, model in team.agents().items()} == {
                name: model.digest for name, model in alone[label].agents().items()
            }


@pytest.mark.slow
def test_answers_drawn_in_parts_are_those_of_one_process(workspace: Workspace, elsewhere: Elsewhere) -> None:
    alone = [answers(workspace, team) for team in results.teams(workspace, "sft")]
    with elsewhere() as other:
        assert [answers(other, team) for team in results.teams(other, "sft")] == alone


def test_a_killed_process_is_one_line(workspace: Workspace, own_steps: object) -> None:
    workspace.experiment = side_by_side(workspace.experiment)
    with pytest.raises(TrainingError, match=r"one was killed .*; start again, .* or set processes: 1"):
        do_ahead(workspace, [own_steps.killed, own_steps.quiet])


def test_what_a_step_raises_is_raised(workspace: Workspace, own_steps: object) -> None:
    workspace.experiment = side_by_side(workspace.experiment)
    with pytest.raises(ValueError, match="not this one"):
        do_ahead(workspace, [own_steps.quiet, own_steps.refused])
