"""Which teams there are: the built-in ones, and those that the experiment names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mats_sql.config import Experiment
from mats_sql.errors import ConfigError
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.assemble import TeamModels
from mats_sql.pipeline.commands import compare_named, evaluate_teams
from mats_sql.pipeline.evaluate import read_candidates, selected_correct
from mats_sql.pipeline.promote import promote_team
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference.labelling import Labelling
from mats_sql.tracking.lineage_tree import lineage, lineage_text
from mats_sql.tracking.promotion import team_of_run

TEAMS = {
    "planner-orpo": {"planner": "orpo"},
    "fixer-orpo": {"validators": "indep", "fixer": "orpo"},
    "fixer-alone": {"validators": "none"},
    "bare": {"planner": "orpo", "validators": "none", "fixer": "none"},
    "own-selector": {"validators": "indep", "selector": "own"},
}
FIRST = Seeds()


@pytest.fixture
def named(workspace: Workspace) -> Workspace:
    """The tiny experiment with teams of its own, and several optimizer steps: the first has no learning rate yet."""
    orpo = workspace.experiment.orpo.model_dump() | {"batch_size": 2}
    workspace.experiment = changed(workspace.experiment, {"teams": TEAMS, "regimes": ["indep"], "orpo": orpo})
    return workspace


def changed(experiment: Experiment, settings: Mapping[str, object]) -> Experiment:
    return Experiment.model_validate({**experiment.model_dump(), **settings})


def digests(team: TeamModels) -> dict[str, str]:
    return {name: model.digest for name, model in team.agents().items()}


def test_every_named_team_is_there_beside_the_built_in_ones(named: Workspace) -> None:
    assert [team.label for team in results.teams(named)] == [
        "PLANNER-only",
        "VALIDATORS-no-fixer",
        "SFT-VF, aware fixer",
        "ORPO INDEP, aware fixer, seed 0",
        "planner-orpo, aware fixer, seed 0",
        "fixer-orpo, aware fixer, seed 0",
        "fixer-alone, aware fixer",
        "bare, seed 0",
        "own-selector, aware fixer, seed 0",
    ]


def test_a_named_team_has_the_agents_that_it_names_and_the_rest_of_the_sft_team(named: Workspace) -> None:
    line = next(steps.lines(named.experiment))
    made = {name: digests(next(results.teams(named, name))) for name in ("sft", *TEAMS)}
    planner = steps.preferred_planner(named, FIRST).outputs["model"].digest
    fixer = steps.preferred_fixer(named, line, FIRST).outputs["model"].digest
    assert (planner != made["sft"]["planner"], fixer != made["sft"]["fixer"]) == (True, True)
    assert made["planner-orpo"] == {**made["sft"], "planner": planner}
    indep = {
        f"{validator.value}-validator": model.digest
        for validator, model in steps.preferred_validators(named, Labelling("indep"), line, FIRST).items()
    }
    assert made["fixer-orpo"] == {**made["sft"], **indep, "fixer": fixer}
    assert made["fixer-alone"] == {name: made["sft"][name] for name in ("planner", "selector", "fixer")}
    assert made["bare"] == {"planner": planner, "selector": made["sft"]["selector"]}
    own = made["own-selector"]
    assert own == {**made["sft"], **indep, "selector": own["selector"]}
    assert own["selector"] != made["sft"]["selector"], "it learned from what other validators write"


def test_the_sft_teams_own_selector_is_the_lines(named: Workspace) -> None:
    settings = {"teams": {"again": {"selector": "own"}}}
    named.experiment = changed(named.experiment, settings)
    assert digests(next(results.teams(named, "again"))) == digests(next(results.teams(named, "sft")))


def test_every_regimes_team_may_have_its_own_selector(named: Workspace) -> None:
    named.experiment = changed(named.experiment, {"selectors": "own"})
    indep, same = (digests(next(results.teams(named, name))) for name in ("indep", "own-selector"))
    assert indep == same
    sft, planner = (digests(next(results.teams(named, name))) for name in ("sft", "planner"))
    assert sft["selector"] == planner["selector"] != indep["selector"]


def test_the_fixer_that_orpo_trains_is_the_next_iterations(named: Workspace) -> None:
    line, second = steps.lines(changed(named.experiment, {"iterations": 2}))
    assert steps.preferred_fixer(named, line, FIRST).outputs["model"].digest == steps.fixer(named, second, FIRST).digest


def test_without_a_fixer_the_validators_are_heard_by_the_selector_alone(named: Workspace) -> None:
    unfixed, planner = (next(results.teams(named, name)) for name in ("validators", "planner"))
    assert {**digests(planner), **{k: v for k, v in digests(unfixed).items() if "validator" in k}} == digests(unfixed)
    evaluated = [results.evaluation(named, team) for team in (unfixed, planner)]
    rows, plain = (read_candidates(result.outputs["candidates"]) for result in evaluated)
    assert {(row.origin, row.gate_open) for row in rows} == {("plan", False)}
    assert [row.sql for row in rows] == [row.sql for row in plain]
    assert any(row.select_verdict != other.select_verdict for row, other in zip(rows, plain, strict=True))
    assert evaluated[0].metrics["pipeline_at_1"] == evaluated[1].metrics["planner_at_1"]


def test_a_named_team_is_evaluated_compared_and_promoted_by_its_name(
    named: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_teams(named, "bare")
    assert "bare, seed 0" in capsys.readouterr().out
    compare_named(named, "validators", "bare")
    assert "bare − VALIDATORS-no-fixer" in capsys.readouterr().out
    assert_traced(named)
    result = results.evaluation(named, next(results.teams(named, "bare")))
    version = team_of_run(named.store, result.run_id)
    assert (version.name, version.tags["team"]) == ("tiny.team", "bare")
    assert (version.tags["measured.run"], version.tags["measured.part"]) == (result.run_id, "dev")
    assert float(version.tags["metric.selector_ex"]) == pytest.approx(result.metrics["selector_ex"], abs=1e-5)
    assert version.tags["k"] == str(named.experiment.rollout.plans), "of the pairs of its planner"
    assert "orpo" in lineage_text(lineage(named.store, str(version)))
    promote_team(named, result.run_id)
    champion = named.store.client.get_model_version_by_alias("tiny.team", "champion")
    assert int(champion.version) == version.number


def assert_traced(named: Workspace) -> None:
    """A sample of both evaluations is traced, and of their comparison the questions on which they part; once each."""
    compare_named(named, "validators", "bare")
    evaluated = [
        results.evaluation(named, team) for name in ("validators", "bare") for team in results.teams(named, name)
    ]
    right = [selected_correct(read_candidates(result.outputs["candidates"])) for result in evaluated]
    parting = {key for key, value in right[0].items() if value != right[1][key]}
    traces = named.store.client.search_traces(locations=[named.store.experiment_id], max_results=500)
    runs = [trace.info.trace_metadata["mlflow.sourceRun"] for trace in traces]
    count = min(named.experiment.traces.evaluation, len(right[0]))
    assert [runs.count(result.run_id) for result in evaluated] == [count, count]
    compared = [
        trace
        for trace in traces
        if "right" in trace.info.tags and trace.info.tags["team"] in ("VALIDATORS-no-fixer", "bare")
    ]
    assert sorted(int(trace.info.tags["question_id"]) for trace in compared) == sorted([*parting, *parting])
    for trace in compared:
        said = {one.name: one for one in trace.info.assessments}
        assert said["correct"].feedback.value is (trace.info.tags["right"] == trace.info.tags["team"])


def test_an_unknown_team_is_refused_with_those_there_are(named: Workspace) -> None:
    with pytest.raises(
        ConfigError, match=r"validators, sft, .*planner-orpo, .*bare, own-selector, all, but got 'nobody'"
    ):
        next(results.teams(named, "nobody"))


def test_a_team_that_a_line_would_change_only_in_its_selector_is_there_once(named: Workspace) -> None:
    named.experiment = changed(named.experiment, {"fixers": ["fixed", "aware"], "teams": TEAMS})
    labels = {
        name: [team.label for team in results.teams(named, name)] for name in ("validators", "bare", "fixer-alone")
    }
    assert labels == {
        "validators": ["VALIDATORS-no-fixer"],
        "bare": ["bare, seed 0"],
        "fixer-alone": ["fixer-alone, fixed fixer", "fixer-alone, aware fixer"],
    }
