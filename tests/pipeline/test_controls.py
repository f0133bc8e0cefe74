"""Controls, a regime of one's own and the advantage on a tiny lab: what is trained, on which pairs, what is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mats_sql.agents.critique import Validator, Verdict, parse_critique
from mats_sql.choices import Balance
from mats_sql.config import Experiment, regime_name
from mats_sql.evaluation.comparison.comparisons import read_comparisons
from mats_sql.evaluation.sets import ALL
from mats_sql.parquet import read_records
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.assemble import Line
from mats_sql.pipeline.main import run_experiment
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference.balance import VerdictMix, reachable, verdict_mix
from mats_sql.preference.labelling import Labelling
from mats_sql.preference.pair import PreferencePair
from mats_sql.preference.regimes import label_critiques
from mats_sql.rollout.pool import read_pool
from mats_sql.tracking.stage import StageResult

RULES = "rules_of_mine"
INDEP, SHORTER = Labelling("indep"), Labelling(f"{RULES}:shorter")
BALANCED, MATCHED = Labelling("indep", Balance.VERDICT), Labelling("indep", Balance.MATCH, SHORTER)
FIRST = Seeds()
RULE = """\
from mats_sql.agents import Verdict


def by_rescue(case, policy):
    return case.plan.correct == (case.critique.verdict is Verdict.CORRECT)


def all_alike(case, policy):  # rejected, as a critique without a verdict is
    return False


def shorter(case, policy):  # has pairs, of both verdicts, whatever the agents of the day can do
    return -len(case.critique.text)
"""


def with_settings(workspace: Workspace, **settings: object) -> Workspace:
    """Return a view of the tiny experiment with other settings, on the same store."""
    changed = {**workspace.experiment.model_dump(mode="json"), **settings}
    return replace(workspace, experiment=Experiment.model_validate(changed))


def trained_on(result: StageResult, validator: Validator) -> list[PreferencePair]:
    return read_records(PreferencePair, result.outputs[validator.value].path)


@pytest.fixture
def line(workspace: Workspace) -> Line:
    return next(steps.lines(workspace.experiment))


@pytest.fixture
def own_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of the user's with a regime, in the folder that the command runs in."""
    path = tmp_path / f"{RULES}.py"
    path.write_text(RULE)
    monkeypatch.chdir(tmp_path)
    yield path
    sys.modules.pop(RULES, None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


@pytest.mark.usefixtures("own_rule")
@pytest.mark.parametrize("labelling", [BALANCED, MATCHED], ids=lambda one: one.key)
def test_a_control_trains_on_a_part_of_indeps_pairs_with_the_wanted_mix(
    labelling: Labelling, workspace: Workspace, line: Line
) -> None:
    result = steps.critique_pairs(workspace, labelling, line, FIRST)
    base, target = (steps.critique_pairs(workspace, one, line, FIRST) for one in (INDEP, SHORTER))
    for validator in Validator:
        pairs, every = trained_on(result, validator), trained_on(base, validator)
        assert {pair.pair_id for pair in pairs} <= {pair.pair_id for pair in every}
        wanted = verdict_mix(trained_on(target, validator))
        if labelling is BALANCED:
            wanted = VerdictMix(len(every), len(every))
        assert verdict_mix(pairs) == reachable(verdict_mix(every), wanted)
        name = validator.value
        assert result.metrics[f"{name}/training_pairs"] == len(pairs)
        assert result.metrics[f"{name}/dropped_pairs"] == len(every) - len(pairs)
        if labelling is MATCHED:
            assert result.metrics[f"{name}/missing_pairs"] == wanted.total - len(pairs)
            assert result.metrics[f"{name}/mix_off"] == pytest.approx(abs(verdict_mix(pairs).share - wanted.share))


def test_the_pairs_run_says_how_many_chosen_critiques_are_complaints(workspace: Workspace, line: Line) -> None:
    result = steps.critique_pairs(workspace, INDEP, line, FIRST)
    for validator in Validator:
        pairs = trained_on(result, validator)
        said = [parse_critique(validator, pair.chosen).verdict for pair in pairs]
        assert result.metrics[f"{validator.value}/training_pairs"] == len(pairs)
        assert result.metrics[f"{validator.value}/chosen_incorrect"] == said.count(Verdict.INCORRECT) / len(pairs)


@pytest.mark.usefixtures("own_rule")
def test_every_regime_is_compared_with_indep_with_balanced_indep_and_with_indep_matched_to_it(
    workspace: Workspace, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    own = with_settings(workspace, regimes=["indep", SHORTER.regime], controls=True)
    names = [team.name for team in results.teams(own)]
    assert names[3:] == ["ORPO INDEP", "ORPO SHORTER", "ORPO INDEP (balanced)", "ORPO INDEP (matched to SHORTER)"]
    assert [team.regime for team in results.teams(own, "indep (balanced)")] == ["indep (balanced)"]
    compared = results.regime_comparison(own, line)
    assert compared is not None
    gaps = read_comparisons(compared.outputs["comparisons"].path)
    shorter = f"SHORTER ({line.label})"
    [survival] = gaps.survivals(ALL)
    assert [(gap.treatment, gap.baseline) for gap in survival.gaps] == [
        (shorter, f"INDEP ({line.label})"),
        (shorter, f"INDEP (balanced) ({line.label})"),
        (shorter, f"INDEP (matched to SHORTER) ({line.label})"),
    ]
    assert gaps.of(ALL, shorter).baseline == f"INDEP ({line.label})"
    run_experiment(own)
    page = " ".join(capsys.readouterr().out.split())
    assert survival.sentence in page
    assert "What the validators learned from" in page
    assert "What the controls leave" in page


@pytest.mark.usefixtures("own_rule")
def test_without_controls_a_regime_is_compared_with_indep_alone(workspace: Workspace, line: Line) -> None:
    own = with_settings(workspace, regimes=["indep", SHORTER.regime], controls=False)
    assert [team.name for team in results.teams(own)][3:] == ["ORPO INDEP", "ORPO SHORTER"]
    compared = results.regime_comparison(own, line)
    assert compared is not None
    assert read_comparisons(compared.outputs["comparisons"].path).controls == ()


def test_a_rule_of_ones_own_trains_as_the_built_in_one_that_does_the_same(
    workspace: Workspace, line: Line, own_rule: Path
) -> None:
    name = f"{own_rule.stem}:by_rescue"
    own = with_settings(workspace, regimes=["indep", name])
    built_in, mine = (steps.critique_pairs(own, Labelling(regime), line, FIRST) for regime in ("indep", name))
    for validator in Validator:
        pairs = [replace(pair, regime="indep") for pair in trained_on(mine, validator)]
        assert pairs == trained_on(built_in, validator)
    [team] = results.teams(own, name)
    assert (team.name, team.regime) == ("ORPO BY_RESCUE", "by_rescue")


def test_a_changed_rule_labels_anew_and_an_unchanged_one_does_not(
    workspace: Workspace, line: Line, own_rule: Path
) -> None:
    labelling = Labelling(f"{own_rule.stem}:by_rescue")

    def run_id() -> str:
        fresh = Workspace(workspace.experiment, workspace.store, workspace.progress)
        return steps.critique_pairs(fresh, labelling, line, FIRST).run_id

    before = run_id()
    assert run_id() == before
    own_rule.write_text(f"{RULE}# changed\n")
    assert run_id() != before


def test_the_advantage_is_taken_over_several_fixes_that_are_really_drawn(workspace: Workspace, line: Line) -> None:
    rollout = {**workspace.experiment.rollout.model_dump(mode="json"), "fixes": 3}
    own = with_settings(workspace, rollout=rollout, regimes=["indep", "advantage"])
    pool = read_pool(steps.pool(own, line, FIRST).path)
    drawn: dict[tuple[str, int, int], list[str]] = {}
    for fix in sorted(pool.fixes, key=lambda fix: fix.sample_index):
        drawn.setdefault((fix.review_id, fix.select_index, fix.condition_index), []).append(fix.text)
    assert {len(texts) for texts in drawn.values()} == {3}
    assert any(len(set(texts)) > 1 for texts in drawn.values()), "the fixes after the greedy one are sampled"
    greedy = read_pool(steps.pool(workspace, line, FIRST).path)
    assert greedy.fixes == tuple(fix for fix in pool.fixes if fix.sample_index == 0)
    built = steps.critique_pairs(own, Labelling("advantage"), line, FIRST)
    for validator in Validator:
        labels = label_critiques(pool, validator, "advantage", own.experiment.policy)
        worth = {item.critique.critique_id: item.worth for item in labels}
        pairs = trained_on(built, validator)
        assert all(worth[pair.chosen_source] > worth[pair.rejected_source] for pair in pairs)


@pytest.mark.usefixtures("own_rule")
def test_a_regime_without_pairs_gives_the_team_its_validators_as_they_were(
    workspace: Workspace, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Labelling(f"{RULES}:all_alike")
    for validator in Validator:
        trained = steps.preferred_validator(workspace, validator, nothing, line, FIRST)
        assert trained.metrics["train_steps"] == 0
        before = steps.supervised_validator(workspace, validator, FIRST)
        assert trained.outputs["model"].digest == before.digest
    assert capsys.readouterr().err.count("no pairs, so the model is the one it had before, unchanged") == 2


@pytest.mark.parametrize("balance", [Balance.NONE, Balance.VERDICT])
def test_a_run_spells_a_control_as_the_table_does(balance: Balance) -> None:
    regime = Labelling("advantage", balance)
    for labelling in (regime, Labelling("indep", Balance.MATCH, regime)):
        assert regime_name(labelling.key) == labelling.name
