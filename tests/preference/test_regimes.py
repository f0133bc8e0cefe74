"""What each regime chooses, as a table of cases and as properties over generated pools."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.choices import Gate, Regime
from mats_sql.preference.regimes import label_critiques
from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, Pool, review_id
from mats_sql.sql.execution import Outcome
from mats_sql.sql.verdict import VerdictClass
from tests.pools import pools

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
    found = {regime: label_critiques(pool, Validator.SELECT, regime, Gate.ON_COMPLAINT)[0].chosen for regime in Regime}
    assert found == expected


def test_collab_v2_replays_the_gate_that_the_other_validator_opens() -> None:
    pool = one_case(Verdict.CORRECT, WRONG, RIGHT, other=Verdict.INCORRECT)
    labels = label_critiques(pool, Validator.SELECT, Regime.COLLAB_V2, Gate.ON_COMPLAINT)
    assert [item.chosen for item in labels] == [True]


def test_under_the_error_gate_a_complaint_about_sql_that_ran_changes_nothing() -> None:
    pool = one_case(Verdict.INCORRECT, RIGHT, WRONG)
    labels = label_critiques(pool, Validator.SELECT, Regime.COLLAB_V2, Gate.ON_ERROR)
    assert [item.chosen for item in labels] == [True]


@given(pools(), st.sampled_from(list(Regime)), st.sampled_from(list(Validator)), st.randoms(use_true_random=False))
def test_labels_do_not_depend_on_row_order(
    pool: Pool, regime: Regime, validator: Validator, chance: random.Random
) -> None:
    def shuffled(rows: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(chance.sample(rows, len(rows)))

    mixed = Pool(shuffled(pool.plans), shuffled(pool.critiques), shuffled(pool.fixes))  # type: ignore[arg-type]
    assert label_critiques(mixed, validator, regime, Gate.ON_COMPLAINT) == label_critiques(
        pool, validator, regime, Gate.ON_COMPLAINT
    )


@given(pools(), st.sampled_from(list(Regime)), st.sampled_from(list(Validator)), st.integers(1, 4))
def test_a_prefix_labels_its_critiques_as_the_whole_pool_does(
    pool: Pool, regime: Regime, validator: Validator, k: int
) -> None:
    whole = {item.critique.critique_id: item.chosen for item in label_critiques(pool, validator, regime, Gate.ON_ERROR)}
    part = label_critiques(pool.prefix(k), validator, regime, Gate.ON_ERROR)
    assert all(whole[item.critique.critique_id] == item.chosen for item in part)


@given(pools(), st.sampled_from(list(Validator)))
def test_strict_is_indep_and_collab_v2(pool: Pool, validator: Validator) -> None:
    def chosen(regime: Regime) -> set[str]:
        labels = label_critiques(pool, validator, regime, Gate.ON_COMPLAINT)
        return {item.critique.critique_id for item in labels if item.chosen}

    assert chosen(Regime.STRICT) == chosen(Regime.INDEP) & chosen(Regime.COLLAB_V2)


@given(pools(), st.sampled_from(list(Regime)), st.sampled_from(list(Validator)))
def test_flipping_every_verdict_of_the_judge_flips_indep(pool: Pool, regime: Regime, validator: Validator) -> None:
    flipped = replace(
        pool,
        plans=tuple(replace(plan, verdict=WRONG if plan.correct else RIGHT) for plan in pool.plans),
        fixes=tuple(replace(fix, verdict=WRONG if fix.correct else RIGHT) for fix in pool.fixes),
    )
    gate = Gate.ALWAYS  # under it no outcome decides the flow, so labels follow the judge alone
    before = label_critiques(pool, validator, regime, gate)
    after = label_critiques(flipped, validator, regime, gate)
    said = [item.critique.verdict is not Verdict.MISSING for item in before]
    if regime in (Regime.INDEP, Regime.COLLAB, Regime.COLLAB_V2):
        assert [a.chosen != b.chosen for a, b in zip(before, after, strict=True)] == said
