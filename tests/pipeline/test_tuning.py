"""From a search to a champion: what a search found is what `main` trains, and validation names the champion."""

from __future__ import annotations

import pytest

from mats_sql.config import Experiment
from mats_sql.pipeline.main import run_experiment
from mats_sql.pipeline.search import RegimeSearch
from mats_sql.pipeline.tuning import regimes_to_search
from mats_sql.pipeline.workspace import Workspace
from mats_sql.search import known_trials
from mats_sql.tracking.registry import resolve
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import connect
from tests.pipeline.test_teams import changed

LINE = {
    "name": "line",
    "orpo": {"weight_decay": 0.01},
    "regimes": ["collab"],
    "controls": False,
    "processes": 1,
    "search": {"trials": 2, "k": [2, 3], "block_questions": 2},
    "main": {"search": True, "promote": True},
}


@pytest.fixture
def line(workspace: Workspace) -> Workspace:
    """The tiny experiment with a search and a champion, under a name and with ORPO settings that no other test has."""
    experiment = changed(workspace.experiment, LINE)
    return Workspace(experiment, connect(experiment.name, experiment.work_dir), workspace.progress)


def test_main_trains_what_the_search_found_and_promotes_what_validation_prefers(
    line: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def compute(run: StageRun) -> None:
        line.command = run
        run_experiment(line)

    run_stage(line.store, Stage(StageKey("main", 1), "main", reusable=False), compute)
    champion = resolve(line.store, "line.team@champion")
    assert f"{champion} is champion" in capsys.readouterr().err
    search = RegimeSearch.of(line.experiment, "collab")
    best = max(known_trials(search.settings, search.address), key=lambda row: row.selector_ex or 0.0)
    beta = repr(best.settings.beta)
    assert resolve(line.store, "line.team@best-of-search-collab").tags["beta"] == beta
    runs = line.store.client.search_runs([line.store.experiment_id], f"params.beta = '{beta}'")
    evaluated = [run.data.tags["part"] for run in runs if run.data.tags["mats.stage"] == "evaluate"]
    assert sorted(evaluated) == ["dev", "validation"], "the winner is evaluated on all questions, the others are not"
    trials, trained = (
        line.store.client.search_runs([line.store.experiment_id], f"tags.`mats.stage` = '{stage}'")
        for stage in ("search-trial", "orpo")
    )
    assert len(trials) == 2
    parents = {run.data.tags["mlflow.parentRunId"] for run in trained}
    assert parents
    assert parents <= {trial.info.run_id for trial in trials}, "main trains no validator again"


def test_a_regime_has_its_own_settings_and_no_other_has_them() -> None:
    experiment = Experiment.model_validate(
        {"regimes": ["indep", "collab"], "tuned": {"collab": {"beta": 0.5, "k": 2}, "indep": {"learning_rate": 0.01}}}
    )
    assert (experiment.tuned_to("collab").orpo.beta, experiment.tuned_to("collab").pairs.k) == (0.5, 2)
    assert experiment.tuned_to("collab").orpo.learning_rate == experiment.orpo.learning_rate
    assert experiment.tuned_to("indep").orpo.beta == experiment.orpo.beta
    assert experiment.tuned_to("strict") is experiment


def test_a_regime_that_is_tuned_is_not_searched() -> None:
    settings = {"regimes": ["indep", "collab"], "tuned": {"collab": {}}}
    assert regimes_to_search(Experiment.model_validate(settings)) == ["indep"]
