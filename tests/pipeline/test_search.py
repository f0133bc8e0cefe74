"""A search in this process: its trials' teams, its winner, what is used again, and what ends early."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow.entities import Run

from mats_sql.config import load_experiment
from mats_sql.errors import ConfigError, StageStopped
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.evaluate import Blocks, read_candidates, selected_correct
from mats_sql.pipeline.plan import Foresight, plan_experiment, plan_search
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.replicates import seeds_of
from mats_sql.pipeline.search import RegimeSearch, with_trial
from mats_sql.pipeline.search_workers import search_regimes
from mats_sql.pipeline.workspace import Workspace
from mats_sql.search import SearchResult, TrialState
from mats_sql.tracking import names
from mats_sql.tracking.registry import resolve
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from tests.pipeline.test_teams import changed

SEARCH = {"trials": 2, "k": [3], "block_questions": 2}


@pytest.fixture
def searching(workspace: Workspace) -> Workspace:
    """The tiny experiment with a search of its own."""
    workspace.experiment = changed(workspace.experiment, {"search": SEARCH})
    return workspace


def searched(workspace: Workspace, **options: int) -> tuple[str, SearchResult]:
    """Search under collab inside a command's run; return its id and the result."""
    found: list[tuple[str, SearchResult]] = []

    def compute(run: StageRun) -> None:
        workspace.command = run
        found.append((run.run_id, search_regimes(workspace, ["collab"], **options)["collab"]))

    run_stage(workspace.store, Stage(StageKey("search", 1), "search", reusable=False, concurrent=True), compute)
    return found[0]


def test_more_workers_than_trials_may_run_at_once_are_refused_before_anything_is_trained(searching: Workspace) -> None:
    runs = searching.store.client.search_runs
    before = len(runs(searching.store.experiment_ids))
    with pytest.raises(ConfigError, match=r"workers must be at most search\.parallel \(2\).*but got 3"):
        search_regimes(searching, ["collab"], workers=3)
    assert len(runs(searching.store.experiment_ids)) == before


def below(workspace: Workspace, parent: str) -> list[Run]:
    store = workspace.store
    return list(store.client.search_runs(store.experiment_ids, f"tags.`mlflow.parentRunId` = '{parent}'"))


def test_a_search_ends_with_a_team_that_main_uses_again(
    searching: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, result = searched(searching)
    own = RegimeSearch.of(searching.experiment, "collab").own
    assert result.trials[0].settings == own
    version = resolve(searching.store, "tiny.team@best-of-search-collab")
    best = result.best.settings
    assert version.tags["beta"] == repr(best.beta)
    assert version.tags["learning_rate"] == repr(best.learning_rate)
    assert (version.tags["k"], version.tags["trial"]) == (str(best.k), str(result.best.number))
    page = capsys.readouterr().out
    assert f'--set "{best.overrides()}"' in page
    assert "overstates itself" in page
    assert result.notice in searching.store.run(run_id).data.tags["best.collab.notice"]
    _evaluates_with_the_trained_models(searching, result)
    _draws_nothing_but_its_answers(searching, run_id)
    _has_its_figures(searching, run_id)


def _evaluates_with_the_trained_models(searching: Workspace, result: SearchResult) -> None:
    path = searching.experiment.work_dir / "as-a-file.yaml"
    path.write_text(searching.experiment.model_dump_json())
    again = load_experiment(path, result.best.settings.overrides().split())
    assert again == with_trial(searching.experiment, result.best.settings)
    with Workspace(again, searching.store, Progress()) as later:
        line, seeds = next(steps.lines(again)), seeds_of(again)[0]
        labelling = RegimeSearch.of(again, "collab").labelling
        trained = [steps.preferred_validator(later, one, labelling, line, seeds) for one in results.Validator]
        assert [made.reused for made in trained] == [True, True]
        version = resolve(later.store, "tiny.team@best-of-search-collab")
        assert results.assemble(later, results.preferred_team(later, labelling, line, seeds)).reused
        assert version.run_id


def _draws_nothing_but_its_answers(searching: Workspace, run_id: str) -> None:
    trials = [run for run in below(searching, run_id) if run.data.tags[names.STAGE] == "search-trial"]
    assert len(trials) == 2
    made = [stage.data.tags[names.STAGE] for trial in trials for stage in below(searching, trial.info.run_id)]
    assert set(made) <= {"pairs", "orpo", "assemble", "evaluate"}
    assert made.count("evaluate") == 2


def _has_its_figures(searching: Workspace, run_id: str) -> None:
    files = {file.path for file in searching.store.client.list_artifacts(run_id)}
    optunas = {f"search_collab_{name}.png" for name in ("history", "slice", "parallel_coordinates")}
    assert {"search_collab.png", "search_collab.json"} | optunas <= files


def test_a_finished_search_runs_nothing_again(searching: Workspace) -> None:
    _, first = searched(searching)
    run_id, second = searched(searching)
    assert second == first
    assert below(searching, run_id) == []


def test_trials_of_another_experiment_are_not_mixed_in(searching: Workspace) -> None:
    searched(searching)
    searching.experiment = changed(searching.experiment, {"policy": {"k": 1}})
    with pytest.raises(ConfigError, match="must share agents, pool and policy"):
        searched(searching)


def test_an_evaluation_in_blocks_equals_one_in_one_go(searching: Workspace) -> None:
    line, seeds = next(steps.lines(searching.experiment)), seeds_of(searching.experiment)[0]
    team = results.supervised_team(searching, line, seeds)
    whole = results.evaluation(searching, team, validation_only=True)
    heard: dict[int, float] = {}
    order = sorted(validation_ids(steps.questions(searching)), reverse=True)
    with _drawing_anew(searching, whole.run_id) as again:
        blocks = Blocks(order, 3, lambda scores: not heard.update(scores))
        parts = results.evaluation(again, team, validation_only=True, blocks=blocks)
    assert (parts.reused, parts.run_id == whole.run_id) == (False, False)
    assert parts.outputs["candidates"].digest == whole.outputs["candidates"].digest
    assert parts.metrics["selector_ex"] == whole.metrics["selector_ex"]
    assert heard == selected_correct(read_candidates(whole.outputs["candidates"]))


def test_a_trial_that_is_given_no_hope_ends_early_and_can_go_on(searching: Workspace) -> None:
    line, seeds = next(steps.lines(searching.experiment)), seeds_of(searching.experiment)[0]
    team = results.unfixed_team(searching, line, seeds)
    order = sorted(validation_ids(steps.questions(searching)))
    asked: list[Mapping[int, float]] = []

    def hopeless(scores: Mapping[int, float]) -> bool:
        asked.append(scores)
        return False

    with pytest.raises(StageStopped, match="evaluated on 2 of 4 questions only"):
        results.evaluation(searching, team, validation_only=True, blocks=Blocks(order, 2, hopeless))
    assert [list(block) for block in asked] == [order[:2]]
    assert results.evaluation(searching, team, validation_only=True).metrics["questions"] == 4


def test_a_dry_run_says_what_is_reused_and_what_remains(
    searching: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(searching)
    before = len(searching.store.client.search_runs(searching.store.experiment_ids, max_results=1000))
    planned = plan_search(searching.experiment, ["collab"], trials=5)
    assert {stage.foresight for stage in planned} == {Foresight.REUSED}
    assert "collab: 3 of 5 remain (2 finished)" in capsys.readouterr().out
    other = changed(searching.experiment, {"sft": {"planner": {"epochs": 3}}})
    foreseen = {stage.title: stage.foresight for stage in plan_experiment(other)}
    assert foreseen["prepare lab benchmark"] is Foresight.REUSED
    assert foreseen["sft planner"] is Foresight.RUNS
    assert foreseen["PLANNER-only · evaluate"] is Foresight.UNKNOWN
    assert len(searching.store.client.search_runs(searching.store.experiment_ids, max_results=1000)) == before


@pytest.mark.slow
def test_two_commands_and_their_workers_share_the_trials_and_wait_for_no_other(searching: Workspace) -> None:
    _, before = searched(searching)
    started = int(1000 * time.time())
    commands = [_command(searching, "--workers", "2"), _command(searching)]
    told = [command.communicate(timeout=900) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], told
    best = [[line for line in page.splitlines() if line.startswith("Best of 4 trials")] for page, _ in told]
    assert best[0] == best[1] != []
    _, after = searched(searching, trials=4)
    assert after.trials[:2] == before.trials
    assert {row.state for row in after.trials} <= {TrialState.FINISHED, TrialState.PRUNED}
    store = searching.store
    found = store.client.search_runs(store.experiment_ids, f"attributes.start_time >= {started}", max_results=1000)
    finished = [run for run in found if run.info.status == "FINISHED"]
    trials = [run.data.tags["trial"] for run in finished if run.data.tags.get(names.STAGE) == "search-trial"]
    assert [trials.count(number) for number in ("2", "3")] == [1, 1]
    fingerprints = [run.data.tags[names.FINGERPRINT] for run in finished if names.FINGERPRINT in run.data.tags]
    assert len(fingerprints) == len(set(fingerprints)), "a stage ran twice"
    waited = [line for _, errors in told for line in errors.splitlines() if "is being worked on" in line]
    assert [line for line in waited if "'search'" in line or "'trial" in line] == []


def _command(searching: Workspace, *options: str) -> subprocess.Popen[str]:
    """Start ``search`` of the tiny experiment as a user does, with a budget of four trials."""
    config = searching.experiment.work_dir / "searched.yaml"
    config.write_text(searching.experiment.model_dump_json())
    environment = os.environ | {"MLFLOW_TRACKING_URI": searching.store.tracking_uri}
    arguments = ["--config", str(config), "--regime", "collab", "--trials", "4", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "entrypoints.search", *arguments],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class _drawing_anew:  # noqa: N801 - used as a context manager
    """A view in which nothing of a run is known: neither the run nor a completion."""

    def __init__(self, workspace: Workspace, run_id: str) -> None:
        self._workspace, self._run_id = workspace, run_id
        self._cache = workspace.cache / "completions.sqlite"

    def __enter__(self) -> Workspace:
        self._workspace.store.client.set_tag(self._run_id, names.DAMAGED, "for a test")
        for file in self._cache.parent.glob("completions.sqlite*"):
            file.rename(file.with_name(f"aside-{file.name}"))
        return Workspace(self._workspace.experiment, self._workspace.store, Progress())

    def __exit__(self, *_: object) -> None:
        for file in self._cache.parent.glob("completions.sqlite*"):
            file.unlink()
        for file in self._cache.parent.glob("aside-completions.sqlite*"):
            file.rename(file.with_name(file.name.removeprefix("aside-")))
        self._workspace.store.client.delete_tag(self._run_id, names.DAMAGED)
