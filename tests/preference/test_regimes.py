"""What each regime chooses, as a table of cases and as properties over generated pools."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.choices import Gate, PoolRule, Regime, SelectorRule
from mats_sql.config import Policy
from mats_sql.errors import ConfigError, StageInputError
from mats_sql.preference.regimes import REGIMES, label_critiques
from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, Pool, review_id
from mats_sql.sql.execution import Outcome
from mats_sql.sql.verdict import VerdictClass
from tests.pools import pools, pools_with_prefix

RIGHT, WRONG = VerdictClass.CORRECT, VerdictClass.WRONG


def one_case(verdict: Verdict, plan: VerdictClass, fix: VerdictClass, other: Verdict = Verdict.CORRECT) -> Pool:
    """Return a pool of one SQL, one select critique, one condition critique and the fix under both."""
    identity = review_id(1, "SELECT 1")
    return Pool(
        (PlanRow("1-0", 1, "db", 0, "plan", "SELECT 1", identity, Outcome.ROWS, "…", plan, 1),),
        (
            CritiqueRow("s", identity, 1, Validator.SELECT, 0, "select", verdict, 1),
            CritiqueRow("c", identity, 1, Validator.CONDITION, 0, "condition", other, 1),
        ),
        (FixRow("f", identity, 1, 0, 0, 0, "feedback", "fix", "SELECT 2", Outcome.ROWS, "…", fix, 1),),
    )


CASES = [
    # verdict, plan, fix, and what indep, collab, collab_v2, strict say
    (Verdict.CORRECT, RIGHT, RIGHT, True, True, True, True),
    (Verdict.CORRECT, RIGHT, WRONG, True, False, True, True),  # the gate stays closed: the SQL is kept
    (Verdict.CORRECT, WRONG, RIGHT, False, True, False, False),  # a missed error
    (Verdict.CORRECT, WRONG, WRONG, False, False, False, False),
    (Verdict.INCORRECT, RIGHT, RIGHT, False, True, True, False),  # a false alarm that does no harm
    (Verdict.INCORRECT, RIGHT, WRONG, False, False, False, False),  # a false alarm that harms
    (Verdict.INCORRECT, WRONG, RIGHT, True, True, True, True),
    (Verdict.INCORRECT, WRONG, WRONG, True, False, False, False),
    (Verdict.MISSING, RIGHT, RIGHT, False, False, False, False),
    (Verdict.MISSING, WRONG, RIGHT, False, False, False, False),
]


@pytest.mark.parametrize(("verdict", "plan", "fix", "indep", "collab", "collab_v2", "strict"), CASES)
def test_each_regime_chooses_as_the_design_says(
    verdict: Verdict,
    plan: VerdictClass,
    fix: VerdictClass,
    indep: bool,
    collab: bool,
    collab_v2: bool,
    strict: bool,
) -> None:
    expected = {
        Regime.INDEP: indep,
        Regime.COLLAB: collab,
        Regime.COLLAB_V2: collab_v2,
        Regime.STRICT: strict,
    }
    pool = one_case(verdict, plan, fix)
    found = {regime: label_critiques(pool, Validator.SELECT, regime, Policy())[0].chosen for regime in expected}
    assert found == expected


def test_collab_v2_replays_the_gate_that_the_other_validator_opens() -> None:
    pool = one_case(Verdict.CORRECT, WRONG, RIGHT, other=Verdict.INCORRECT)
    labels = label_critiques(pool, Validator.SELECT, Regime.COLLAB_V2, Policy())
    assert [item.chosen for item in labels] == [True]


def test_under_the_error_gate_a_complaint_about_sql_that_ran_changes_nothing() -> None:
    pool = one_case(Verdict.INCORRECT, RIGHT, WRONG)
    labels = label_critiques(pool, Validator.SELECT, Regime.COLLAB_V2, Policy(gate=Gate.ON_ERROR))
    assert [item.chosen for item in labels] == [True]


def chosen_under(pool: Pool, policy: Policy, plan_score: float, fix_score: float) -> bool:
    """Return what collab_v2 says of the pool's select critique with these scores."""
    scores = {
        (review_id(1, "SELECT 1"), "incorrect,correct"): plan_score,
        (review_id(1, "SELECT 2"), ""): fix_score,
    }
    return label_critiques(pool, Validator.SELECT, Regime.COLLAB_V2, policy, scores)[0].chosen


KEEP_BOTH = Policy(pool=PoolRule.KEEP_BOTH)


def test_a_fix_without_sql_on_a_right_plan_is_chosen_for_the_team_keeps_the_plan() -> None:
    pool = one_case(Verdict.INCORRECT, RIGHT, VerdictClass.ERROR)
    silent = replace(pool, fixes=tuple(replace(fix, sql=None, outcome=Outcome.ERROR) for fix in pool.fixes))
    labels = {
        regime: label_critiques(silent, Validator.SELECT, regime, Policy())[0].chosen
        for regime in (Regime.COLLAB, Regime.COLLAB_V2, Regime.STRICT)
    }
    assert labels == {Regime.COLLAB: False, Regime.COLLAB_V2: True, Regime.STRICT: False}


@pytest.mark.parametrize(("plan_score", "fix_score", "chosen"), [(0.9, 0.2, True), (0.2, 0.9, False)])
def test_a_right_plan_beside_a_wrong_fix_is_kept_if_the_selector_prefers_it(
    plan_score: float, fix_score: float, chosen: bool
) -> None:
    pool = one_case(Verdict.INCORRECT, RIGHT, WRONG)
    assert chosen_under(pool, KEEP_BOTH, plan_score, fix_score) is chosen


def test_a_fix_that_fails_is_not_selected_whatever_its_score() -> None:
    pool = one_case(Verdict.INCORRECT, RIGHT, VerdictClass.ERROR)
    failing = replace(pool, fixes=tuple(replace(fix, outcome=Outcome.ERROR) for fix in pool.fixes))
    assert chosen_under(failing, KEEP_BOTH, 0.1, 0.9)


@pytest.mark.parametrize("rule", [SelectorRule.FIRST, SelectorRule.MAJORITY])
@pytest.mark.parametrize(("plan", "fix", "chosen"), [(RIGHT, WRONG, True), (WRONG, RIGHT, False)])
def test_without_a_trained_selector_a_plan_that_runs_comes_before_its_fix(
    rule: SelectorRule, plan: VerdictClass, fix: VerdictClass, chosen: bool
) -> None:
    policy = Policy(pool=PoolRule.KEEP_BOTH, selector=rule)
    labels = label_critiques(one_case(Verdict.INCORRECT, plan, fix), Validator.SELECT, Regime.COLLAB_V2, policy)
    assert [item.chosen for item in labels] == [chosen]


@pytest.mark.parametrize("regime", [Regime.COLLAB_V2, Regime.STRICT, Regime.ADVANTAGE])
def test_labels_that_depend_on_the_selector_are_refused_without_its_scores(regime: Regime) -> None:
    with pytest.raises(ConfigError, match=r"policy\.pool=keep_both.*score the pool first") as raised:
        label_critiques(Pool(()), Validator.SELECT, regime, KEEP_BOTH)  # even where nothing is to be labelled
    assert "\n" not in str(raised.value)


def test_scores_of_another_pool_are_refused() -> None:
    with pytest.raises(StageInputError, match="score the pool again"):
        label_critiques(one_case(Verdict.INCORRECT, RIGHT, WRONG), Validator.SELECT, Regime.COLLAB_V2, KEEP_BOTH, {})


@pytest.mark.parametrize("regime", [Regime.INDEP, Regime.COLLAB])
def test_indep_and_collab_depend_on_no_policy(regime: Regime) -> None:
    pool = one_case(Verdict.INCORRECT, RIGHT, WRONG)
    policies = [Policy(gate=gate, pool=rule) for gate in Gate for rule in PoolRule]
    assert {label_critiques(pool, Validator.SELECT, regime, policy)[0].chosen for policy in policies} == {False}


def test_every_regime_of_the_config_has_its_function() -> None:
    assert set(REGIMES) == set(Regime)


@given(pools(), st.sampled_from(list(Regime)), st.sampled_from(list(Validator)), st.randoms(use_true_random=False))
def test_labels_do_not_depend_on_row_order(
    pool: Pool, regime: Regime, validator: Validator, chance: random.Random
) -> None:
    def shuffled(rows: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(chance.sample(rows, len(rows)))

    mixed = Pool(shuffled(pool.plans), shuffled(pool.critiques), shuffled(pool.fixes))  # type: ignore[arg-type]
    assert label_critiques(mixed, validator, regime, Policy()) == label_critiques(pool, validator, regime, Policy())


@given(pools_with_prefix(), st.sampled_from(list(Regime)), st.sampled_from(list(Validator)))
def test_a_prefix_labels_its_critiques_as_the_whole_pool_does(
    pool_and_k: tuple[Pool, int], regime: Regime, validator: Validator
) -> None:
    (pool, k), policy = pool_and_k, Policy(gate=Gate.ON_ERROR)
    whole = {item.critique.critique_id: item.worth for item in label_critiques(pool, validator, regime, policy)}
    part = label_critiques(pool.prefix(k), validator, regime, policy)
    assert [item.critique.critique_id for item in part] == [
        row.critique_id
        for row in sorted(pool.critiques, key=lambda row: row.critique_id)
        if row.validator is validator and row.sample_index < k and row.review_id in pool.prefix(k).reviews()
    ]
    spoken = [item for item in part if item.critique.verdict is not Verdict.MISSING]
    assert all(whole[item.critique.critique_id] == item.worth for item in spoken)
    assert not any(item.chosen for item in part if item not in spoken)


def with_fixes(pool: Pool, *verdicts: VerdictClass) -> Pool:
    """Return the pool with more fixes under the same critiques, of these verdicts."""
    [greedy] = pool.fixes
    more = (replace(greedy, fix_id=f"f{n}", sample_index=n, verdict=verdict) for n, verdict in enumerate(verdicts, 1))
    return replace(pool, fixes=(*[*more][::-1], greedy))


@pytest.mark.parametrize(
    ("verdict", "plan", "fixes", "worth"),
    [
        (Verdict.INCORRECT, WRONG, (RIGHT, RIGHT, WRONG, WRONG), 0.5),
        (Verdict.INCORRECT, WRONG, (WRONG, RIGHT, WRONG, WRONG), 0.25),  # not the greedy fix alone
        (Verdict.INCORRECT, RIGHT, (RIGHT, WRONG, WRONG, WRONG), -0.75),
        (Verdict.CORRECT, RIGHT, (WRONG, WRONG, WRONG, WRONG), 0.0),  # the gate stays closed
        (Verdict.CORRECT, WRONG, (RIGHT, RIGHT, RIGHT, RIGHT), 0.0),
        (Verdict.MISSING, RIGHT, (RIGHT, RIGHT, RIGHT, RIGHT), 0.0),
    ],
)
def test_an_advantage_is_the_share_of_fixes_that_end_right_less_what_the_plan_is(
    verdict: Verdict, plan: VerdictClass, fixes: tuple[VerdictClass, ...], worth: float
) -> None:
    pool = with_fixes(one_case(verdict, plan, fixes[0]), *fixes[1:])
    [label] = label_critiques(pool, Validator.SELECT, Regime.ADVANTAGE, Policy())
    assert label.worth == worth
    assert label.chosen is (worth > 0)


@given(pools(), st.sampled_from(list(Validator)))
def test_with_one_fix_an_advantage_orders_the_critiques_of_a_sql_as_collab_v2_does(
    pool: Pool, validator: Validator
) -> None:
    weighed, labelled = (
        label_critiques(pool, validator, regime, Policy()) for regime in (Regime.ADVANTAGE, Regime.COLLAB_V2)
    )
    said = [n for n, item in enumerate(labelled) if item.critique.verdict is not Verdict.MISSING]
    for number in said:
        for other in said:
            if weighed[number].plan.review_id == weighed[other].plan.review_id:
                more = weighed[number].worth - weighed[other].worth
                assert more == int(labelled[number].worth) - int(labelled[other].worth)


@given(pools(), st.sampled_from(list(Regime)), st.sampled_from(list(Validator)))
def test_a_critique_without_a_verdict_is_worth_more_than_none_of_its_sql(
    pool: Pool, regime: Regime, validator: Validator
) -> None:
    labels = label_critiques(pool, validator, regime, Policy())
    for silent in (item for item in labels if item.critique.verdict is Verdict.MISSING):
        assert not silent.chosen
        assert all(silent.worth <= item.worth for item in labels if item.plan.review_id == silent.plan.review_id)


@given(pools(), st.sampled_from(list(Validator)))
def test_strict_is_indep_and_collab_v2(pool: Pool, validator: Validator) -> None:
    def chosen(regime: Regime) -> set[str]:
        labels = label_critiques(pool, validator, regime, Policy())
        return {item.critique.critique_id for item in labels if item.chosen}

    assert chosen(Regime.STRICT) == chosen(Regime.INDEP) & chosen(Regime.COLLAB_V2)


@given(
    pools(),
    st.sampled_from([Regime.INDEP, Regime.COLLAB, Regime.COLLAB_V2]),
    st.sampled_from(list(Validator)),
)
def test_flipping_every_verdict_of_the_judge_flips_every_label(
    pool: Pool, regime: Regime, validator: Validator
) -> None:
    flipped = replace(
        pool,
        plans=tuple(replace(plan, verdict=WRONG if plan.correct else RIGHT) for plan in pool.plans),
        fixes=tuple(replace(fix, verdict=WRONG if fix.correct else RIGHT) for fix in pool.fixes),
    )
    before = label_critiques(pool, validator, regime, Policy())
    after = label_critiques(flipped, validator, regime, Policy())
    said = [item.critique.verdict is not Verdict.MISSING for item in before]
    assert [a.chosen != b.chosen for a, b in zip(before, after, strict=True)] == said
