"""Who sees the final set: every look is counted, and a search sees the validation split alone."""

from __future__ import annotations

import pytest

from mats_sql.choices import Regime
from mats_sql.evaluation.comparison.comparisons import read_comparisons
from mats_sql.evaluation.sets import ALL
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.commands import diagnose_lines, evaluate_teams
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.search_workers import search_regimes
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.looks import looks_so_far
from mats_sql.tracking.stage import Stage, StageKey, load_result, run_stage
from mats_sql.tracking.stage_run import StageRun
from tests.pipeline.test_teams import changed


def test_a_search_evaluates_every_trial_on_the_validation_split_alone(workspace: Workspace) -> None:
    before = looks_so_far(workspace.store)
    search_regimes(workspace, [Regime.INDEP], trials=1)
    validation = validation_ids(steps.questions(workspace))
    runs = workspace.store.client.search_runs(
        workspace.store.experiment_ids, "tags.`mats.stage` = 'evaluate' AND tags.part = 'validation'"
    )
    assert runs
    for run in runs:
        candidates = read_candidates(load_result(workspace.store, run.info.run_id).outputs["candidates"])
        assert {row.question_id for row in candidates} == validation
    assert looks_so_far(workspace.store) == before


def test_a_command_that_shows_new_results_on_the_final_set_is_one_look(workspace: Workspace) -> None:
    only = {"policy": {"k": 3}, "regimes": ["indep", "collab"]}  # teams that no other test has shown
    workspace.experiment = changed(workspace.experiment, only)
    before = looks_so_far(workspace.store)
    as_command(workspace, "evaluate", "sft")
    assert looks_so_far(workspace.store) == before + 1
    as_command(workspace, "diagnose")
    assert looks_so_far(workspace.store) == before + 2


def test_a_command_that_shows_only_what_was_shown_before_is_no_new_look(workspace: Workspace) -> None:
    as_command(workspace, "evaluate", "planner")
    before = looks_so_far(workspace.store)
    again = Workspace(workspace.experiment, workspace.store, workspace.progress)
    as_command(again, "evaluate", "planner")
    assert looks_so_far(workspace.store) == before


def test_the_diagnosis_says_of_every_gap_what_the_comparison_says(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    diagnose_lines(workspace)
    page = capsys.readouterr().out
    line = next(steps.lines(workspace.experiment))
    compared = results.regime_comparison(workspace, line)
    assert compared is not None
    gaps = read_comparisons(compared.outputs["comparisons"].path)
    for regime in (Regime.COLLAB, Regime.COLLAB_V2):
        gap = gaps.of(ALL, f"{regime.value.upper()} ({line.label})")
        (sentence,) = [text for text in page.splitlines() if text.startswith(f"**{regime.value.upper()}:")]
        assert f"{100 * gap.difference:+.2f} pp" in sentence
        assert gap.distinguishable or "the signal arrives" not in sentence


def as_command(workspace: Workspace, name: str, team: str = "") -> None:
    """Do what an entry point does, inside its own run."""

    def compute(run: StageRun) -> None:
        workspace.command = run
        evaluate_teams(workspace, team) if team else diagnose_lines(workspace)

    run_stage(workspace.store, Stage(StageKey(name, 1), name, reusable=False), compute)
