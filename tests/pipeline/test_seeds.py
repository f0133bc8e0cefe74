"""What a seed varies: preference training, the pool, or all; and that equal work is done once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.choices import SeedsVary
from mats_sql.config import Experiment
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.commands import compare_named, evaluate_teams
from mats_sql.pipeline.replicates import Seeds, seeds_of, supervised_seeds
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference.labelling import Labelling
from mats_sql.seeds import replicate_seed
from tests.pipeline.test_teams import changed, digests

SFT = ("planner", "fixer", "selector")
VALIDATORS = ("select-validator", "condition-validator")


def vary(workspace: Workspace, what: SeedsVary) -> Experiment:
    """Let two seeds vary something, under one regime; in steps of one pair, whose order is a seed's to change."""
    orpo = workspace.experiment.orpo.model_dump() | {"batch_size": 1}
    workspace.experiment = changed(
        workspace.experiment, {"seeds": [0, 1], "seeds_vary": what.value, "regimes": ["indep"], "orpo": orpo}
    )
    return workspace.experiment


@pytest.mark.parametrize(
    ("what", "second", "supervised"),
    [
        (SeedsVary.ORPO, Seeds(orpo=1), [0]),
        (SeedsVary.POOL, Seeds(pool=1, orpo=1), [0]),
        (SeedsVary.ALL, Seeds(1, 1, 1), [0, 1]),
    ],
)
def test_a_seed_varies_what_the_setting_says(what: SeedsVary, second: Seeds, supervised: list[int]) -> None:
    experiment = Experiment(seeds=(0, 1), seeds_vary=what)
    assert seeds_of(experiment) == (Seeds(), second)
    assert [seeds.sft for seeds in supervised_seeds(experiment)] == supervised


@given(st.integers(), st.sets(st.integers(0, 1000), min_size=2))
def test_replicates_have_distinct_roots_and_number_0_is_the_root(root: int, numbers: set[int]) -> None:
    assert replicate_seed(root, 0) == root
    assert len({replicate_seed(root, number) for number in numbers}) == len(numbers)


def test_without_a_setting_a_seed_varies_orpo_alone(workspace: Workspace) -> None:
    vary(workspace, SeedsVary.ORPO)
    line = next(steps.lines(workspace.experiment))
    first, second = (digests(team) for team in results.teams(workspace, "indep"))
    assert [first[name] == second[name] for name in SFT] == [True] * 3
    assert [first[name] == second[name] for name in VALIDATORS] == [False] * 2
    assert len({steps.pool(workspace, line, seeds).digest for seeds in seeds_of(workspace.experiment)}) == 1


def test_a_seed_of_the_pool_draws_its_plans_critiques_and_fixes_anew_from_the_same_agents(
    workspace: Workspace,
) -> None:
    experiment = vary(workspace, SeedsVary.POOL)
    line = next(steps.lines(experiment))
    first, second = (digests(team) for team in results.teams(workspace, "indep"))
    assert [first[name] == second[name] for name in (*SFT, *VALIDATORS)] == [True] * 3 + [False] * 2
    assert len({steps.pool(workspace, line, seeds).digest for seeds in seeds_of(experiment)}) == 2
    assert len({steps.plans(workspace, seeds).digest for seeds in seeds_of(experiment)}) == 2
    assert [team.label for team in results.teams(workspace, "sft")] == ["SFT-VF, aware fixer"]


def test_a_seed_of_all_trains_every_agent_anew_and_the_first_is_that_of_any_other_setting(
    workspace: Workspace,
) -> None:
    vary(workspace, SeedsVary.ORPO)
    plain = digests(next(results.teams(workspace, "indep")))
    vary(workspace, SeedsVary.ALL)
    first, second = (digests(team) for team in results.teams(workspace, "indep"))
    assert first == plain
    assert [first[name] == second[name] for name in (*SFT, *VALIDATORS)] == [False] * 5
    supervised = [digests(team) for team in results.teams(workspace, "sft")]
    assert [team["selector"] for team in supervised] == [first["selector"], second["selector"]]


def test_teams_of_sft_agents_have_a_row_per_seed_of_all_and_a_row_of_their_spread(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    vary(workspace, SeedsVary.ALL)
    evaluate_teams(workspace, "validators")
    printed = capsys.readouterr().out
    assert "VALIDATORS-no-fixer, seed 0" in printed
    assert "VALIDATORS-no-fixer, seed 1" in printed
    assert "Selector EX over seeds of SFT, pool and ORPO" in printed


@pytest.mark.parametrize("what", [SeedsVary.ORPO, SeedsVary.POOL])
def test_a_comparison_by_name_or_by_runs_says_what_its_seeds_cover(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], what: SeedsVary
) -> None:
    vary(workspace, what)
    line = next(steps.lines(workspace.experiment))
    runs = [
        ",".join(
            results.evaluation(workspace, results.preferred_team(workspace, Labelling(regime), line, seeds)).run_id
            for seeds in seeds_of(workspace.experiment)
        )
        for regime in ("indep", "collab_v2")
    ]
    for sides in (("indep", "collab_v2"), runs):
        compare_named(workspace, *sides)
        assert f"over questions and {what.covered}" in capsys.readouterr().out
