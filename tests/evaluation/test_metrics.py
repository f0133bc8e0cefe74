from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.choices import SelectorRule
from mats_sql.config import Policy
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.evaluation.metrics import pass_at_k_curve, team_metrics
from mats_sql.evaluation.question_results import majority_row, question_results, restrict, selections
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.verdict import VerdictClass
from mats_sql.team.policy import Candidate, select, with_groups
from tests.evaluation.synthetic import TeamShape, candidate, synthetic_team

TEAM = synthetic_team(1, TeamShape(), questions=60, k=4)
KEEP_BOTH = synthetic_team(1, TeamShape(keep_both=True), questions=60, k=4)


def scores(*rows):
    return team_metrics(rows).scores


def test_the_final_sql_of_a_sample_is_its_fix_when_it_has_one():
    plan = candidate(correct=True, gate_open=True, in_pool=False)
    fix = candidate(origin="fix", correct=False, gate_open=True, selected=True)
    result = scores(plan, fix)
    assert (result.planner_at_1.count, result.pipeline_at_1.count) == (1, 0)


def test_under_keep_both_pipeline_at_1_still_is_the_fix_and_first_is_the_plan():
    plan = candidate(correct=False, gate_open=True)
    fix = candidate(origin="fix", correct=True, gate_open=True, selected=True)
    result = scores(plan, fix)
    assert (result.pipeline_at_1.count, result.first_ex.count) == (1, 0)


def test_oracle_counts_only_what_the_selector_may_pick():
    plan = candidate(correct=True, gate_open=True, in_pool=False)
    fix = candidate(origin="fix", correct=False, gate_open=True, selected=True)
    result = scores(plan, fix)
    assert (result.oracle_pass_at_k.count, result.planner_oracle_at_k.count) == (0, 1)


def test_majority_picks_the_largest_result_group():
    rows = [candidate(sample_index=i, digest=d, correct=d == "b", selected=i == 0) for i, d in enumerate("abb")]
    assert scores(*rows).majority_ex.count == 1


def test_a_majority_tie_goes_to_the_smallest_sample_index():
    rows = [candidate(sample_index=i, digest=d, correct=d == "a", selected=i == 0) for i, d in enumerate("abba")]
    assert scores(*rows).majority_ex.count == 1
    flipped = [replace(row, sample_index=3 - row.sample_index, verdict=VerdictClass.WRONG) for row in rows]
    assert scores(*flipped).majority_ex.count == 0


def test_majority_ignores_rows_that_did_not_run():
    failed = {"digest": "", "outcome": Outcome.ERROR, "verdict": VerdictClass.ERROR}
    rows = [candidate(sample_index=i, **failed) for i in range(3)] + [candidate(sample_index=3, correct=True)]
    rows[0] = replace(rows[0], selected=True)
    assert scores(*rows).majority_ex == Proportion(1, 1)


def test_majority_of_nothing_that_ran_is_wrong_not_missing():
    row = candidate(digest="", outcome=Outcome.TIMEOUT, verdict=VerdictClass.TIMEOUT, selected=True)
    assert scores(row).majority_ex == Proportion(0, 1)


def test_pick_rate_is_selector_ex_over_oracle():
    picked = candidate(1, correct=True, selected=True)
    missed = [candidate(2, 0, selected=True), candidate(2, 1, correct=True)]
    result = scores(picked, candidate(1, 1), *missed)
    assert result.pick_rate == Proportion(1, 2)


def test_pick_rate_without_a_correct_candidate_is_unknown_and_left_out():
    metrics = team_metrics([candidate(selected=True)])
    assert metrics.scores.pick_rate.percent == "–"
    assert "pick_rate" not in metrics.as_mlflow()


def test_rescues_and_harms_are_counted_per_sample_and_at_sample_0():
    def pair(question, index, before, after):
        plan = candidate(question, index, correct=before, gate_open=True, in_pool=False)
        return [plan, candidate(question, index, "fix", correct=after, gate_open=True, selected=index == 0)]

    rows = [*pair(1, 0, True, False), *pair(1, 1, False, True), *pair(2, 0, False, True), *pair(2, 1, True, True)]
    metrics = team_metrics(rows)
    assert (metrics.fixer_all_samples.rescues, metrics.fixer_all_samples.harms) == (Proportion(2, 4), Proportion(1, 4))
    assert (metrics.fixer_at_1.rescues, metrics.fixer_at_1.harms) == (Proportion(1, 2), Proportion(1, 2))


def test_selection_rescues_are_relative_to_pipeline_at_1():
    rescued = [candidate(1, 0), candidate(1, 1, correct=True, selected=True)]
    harmed = [candidate(2, 0, correct=True), candidate(2, 1, selected=True)]
    selection = team_metrics([*rescued, *harmed]).selection
    assert (selection.rescues.count, selection.harms.count) == (1, 1)


def test_verdict_recalls_are_per_class_and_a_missing_verdict_is_never_right():
    verdicts = [(True, Verdict.CORRECT), (True, Verdict.MISSING), (False, Verdict.INCORRECT), (False, Verdict.CORRECT)]
    rows = [candidate(1, i, correct=c, select=v, selected=i == 0) for i, (c, v) in enumerate(verdicts)]
    seen = team_metrics(rows).validators[Validator.SELECT]
    assert (seen.recall_correct, seen.recall_incorrect) == (Proportion(1, 2), Proportion(1, 2))
    assert (seen.missing, seen.accuracy) == (Proportion(1, 4), Proportion(2, 4))


def test_a_validator_that_was_not_asked_has_no_accuracy():
    metrics = team_metrics([candidate(selected=True)])
    assert not metrics.validators[Validator.CONDITION].asked
    assert not [name for name in metrics.as_mlflow() if name.startswith("verdict/")]


def test_rows_without_gold_do_not_count_for_verdict_accuracy():
    rows = [candidate(verdict=VerdictClass.GOLD_UNAVAILABLE, select=Verdict.CORRECT, selected=True)]
    assert team_metrics(rows).validators[Validator.SELECT].accuracy.total == 0


def test_verdict_classes_are_counted_for_plans_pool_and_selected():
    metrics = team_metrics(TEAM)
    assert sum(metrics.classes["plan"].values()) == 60 * 4
    assert sum(metrics.classes["selected"].values()) == 60
    assert metrics.classes["selected"][VerdictClass.CORRECT] == metrics.scores.selector_ex.count


def test_groups_add_up_to_the_whole():
    metrics = team_metrics(TEAM)
    assert set(metrics.by_difficulty) == {"simple", "moderate", "challenging"}
    assert sum(group.selector_ex.count for group in metrics.by_difficulty.values()) == metrics.scores.selector_ex.count
    assert sum(group.questions for group in metrics.by_difficulty.values()) == 60


def test_mlflow_metrics_are_fractions_under_stable_names():
    metrics = team_metrics(TEAM)
    values, scores_of = metrics.as_mlflow(), metrics.scores
    named = {"planner_at_1", "pipeline_at_1", "oracle_pass_at_k", "majority_ex", "selector_ex", "pick_rate"}
    for name in named:
        assert values[name] == getattr(scores_of, name).count / getattr(scores_of, name).total
    assert values["difficulty/simple/selector_ex"] == metrics.by_difficulty["simple"].selector_ex.value
    assert (values["k"], values["questions"]) == (4, 60)


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.booleans()), min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_majority_and_first_are_what_a_team_with_that_selector_rule_picks(drawn):
    executions = [Execution(Outcome.ROWS if digest else Outcome.ERROR, digest=digest) for digest, _ in drawn]
    pool = [in_pool or not any(flag for _, flag in drawn) for _, in_pool in drawn]
    rows = [
        Candidate(index, "plan", "select 1", execution, (), eligible=flag)
        for index, (execution, flag) in enumerate(zip(executions, pool, strict=True))
    ]
    picked = {
        rule: next(row.sample_index for row in select(Policy(selector=rule), with_groups(rows)) if row.selected)
        for rule in (SelectorRule.MAJORITY, SelectorRule.FIRST)
    }
    judged = [
        candidate(1, row.sample_index, digest=row.execution.digest, outcome=row.execution.outcome, in_pool=row.eligible)
        for row in rows
    ]
    in_pool = [row for row in judged if row.in_pool]
    found = majority_row(in_pool)
    if found is not None:
        assert found.sample_index == picked[SelectorRule.MAJORITY]
    assert in_pool[0].sample_index == picked[SelectorRule.FIRST]


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_changes_nothing(seed):
    shuffled = list(TEAM)
    random.Random(seed).shuffle(shuffled)
    assert team_metrics(shuffled) == team_metrics(TEAM)


@pytest.mark.parametrize("rows", [TEAM, KEEP_BOTH], ids=["replace", "keep_both"])
def test_the_oracle_bounds_every_way_of_picking(rows):
    result = scores(*rows)
    for picked in (result.majority_ex, result.first_ex, result.selector_ex):
        assert picked.count <= result.oracle_pass_at_k.count


@pytest.mark.parametrize("rows", [TEAM, KEEP_BOTH], ids=["replace", "keep_both"])
def test_rescues_minus_harms_explain_every_difference_exactly(rows):
    metrics = team_metrics(rows)
    fixer, selection, result = metrics.fixer_at_1, metrics.selection, metrics.scores
    assert result.pipeline_at_1.count - result.planner_at_1.count == fixer.rescues.count - fixer.harms.count
    assert result.selector_ex.count - result.pipeline_at_1.count == selection.rescues.count - selection.harms.count


def test_plans_without_sql_count_for_no_validator():
    rows = [candidate(selected=True, select=Verdict.CORRECT, correct=True), replace(candidate(1, 1), sql=None)]
    seen = team_metrics(rows).validators[Validator.SELECT]
    assert (seen.accuracy, seen.missing) == (Proportion(1, 1), Proportion(0, 1))


def test_keeping_both_never_lowers_the_oracle():
    assert scores(*KEEP_BOTH).oracle_pass_at_k.count >= scores(*TEAM).oracle_pass_at_k.count
    assert scores(*KEEP_BOTH).oracle_pass_at_k.count >= scores(*KEEP_BOTH).planner_oracle_at_k.count


def test_pass_at_k_never_falls_and_ends_at_the_tables_numbers():
    curve, result = pass_at_k_curve(TEAM), scores(*TEAM)
    for name in ("oracle", "planner_oracle"):
        counts = [point.count for point in curve[name]]
        assert counts == sorted(counts)
    assert (curve["oracle"][-1], curve["majority"][-1]) == (result.oracle_pass_at_k, result.majority_ex)
    assert curve["planner_oracle"][0] == result.planner_at_1


def broken(**change):
    return [replace(TEAM[0], **change), *TEAM[1:]]


FIRST_QUESTION = [row for row in TEAM if row.question_id == 0]


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ([], "at least one judged candidate"),
        ([*TEAM, TEAM[0]], "must be unique"),
        ([replace(row, selected=False) for row in TEAM], "exactly one row must be selected"),
        ([replace(row, in_pool=not row.selected and row.in_pool) for row in TEAM], "selected row must be in the pool"),
        (broken(origin="dream"), "origin must be plan or fix"),
        (broken(sample_index=9), "one plan row for every sample"),
        (broken(db_id="elsewhere"), "share one database"),
        ([*FIRST_QUESTION, candidate(0, 7, "fix", db_id="database_00")], "a fix must belong to a plan sample"),
        ([candidate(selected=True), candidate(origin="fix")], "open gate"),
        ([candidate(1, selected=True), *synthetic_team(1, TeamShape(), questions=1)], "equally many samples"),
    ],
)
def test_records_that_break_a_rule_are_refused_by_its_name(rows, rule):
    with pytest.raises(StageInputError, match=rule) as raised:
        team_metrics(rows)
    assert "\n" not in str(raised.value)


def test_restricting_keeps_whole_questions():
    assert {row.question_id for row in restrict(TEAM, {3, 5, 999})} == {3, 5}


def test_selections_are_the_selected_rows():
    found = selections(question_results(TEAM))
    assert sum(selected.correct for selected in found.values()) == scores(*TEAM).selector_ex.count
    assert found[12].db_id == "database_01"


@given(st.integers(0, 50), st.integers(1, 50))
def test_wilsons_interval_holds_the_estimate_and_stays_in_range(count, more):
    low, high = Proportion(count, count + more).wilson_interval()
    assert 0 <= low <= count / (count + more) <= high <= 1


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(7, 20, 0.18119, 0.56714), (0, 20, 0.0, 0.16113), (20, 20, 0.83887, 1.0), (620, 1524, 0.38243, 0.43170)],
)
def test_wilsons_interval_is_the_closed_form(count, total, low, high):
    z = 1.959963984540054
    centre, half = count + z * z / 2, z * (count * (total - count) / total + z * z / 4) ** 0.5
    closed = ((centre - half) / (total + z * z), (centre + half) / (total + z * z))
    assert Proportion(count, total).wilson_interval() == pytest.approx(closed, abs=1e-12)
    assert closed == pytest.approx((low, high), abs=1e-5)
