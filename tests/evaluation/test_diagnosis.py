from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import assume, given, settings

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.choices import Gate, Regime
from mats_sql.config import Policy
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.comparisons import ComparedTeam, compare_question_sets
from mats_sql.evaluation.diagnosis.fixer_sensitivity import fixer_sensitivity
from mats_sql.evaluation.diagnosis.page import diagnosis_page
from mats_sql.evaluation.diagnosis.pool import diagnose_pool
from mats_sql.evaluation.diagnosis.signal import RegimeOutcome, Signal, Station, TrainedRegimes, diagnose
from mats_sql.evaluation.metrics import team_metrics, verdict_accuracy
from mats_sql.evaluation.sets import ALL, question_sets
from mats_sql.preference.pairing import validator_pairs
from mats_sql.rollout.pool import Pool
from tests.evaluation.synthetic import TeamShape, synthetic_team
from tests.evaluation.synthetic_pool import PoolShape, synthetic_pool
from tests.pools import pools, task


@cache
def pool_of(**shape):
    return synthetic_pool(1, PoolShape(**shape))


@cache
def diagnosed(**shape):
    return diagnose_pool(pool_of(**shape), policy=Policy(gate=Gate.ON_COMPLAINT), max_pairs_per_prompt=2)


DEAF, LISTENING = {"listening": 0.0}, {"listening": 0.7}


# Pairs


def test_pair_counts_are_those_of_the_pairs_that_training_gets():
    pool, found = pool_of(**LISTENING), diagnosed(**LISTENING)
    tasks = {plan.question_id: task(plan.question_id, "db") for plan in pool.plans}
    for item in found.yields:
        pairs = validator_pairs(
            pool.prefix(item.k),
            tasks,
            validator=item.validator,
            regime=item.regime,
            policy=Policy(gate=Gate.ON_COMPLAINT),
            max_pairs_per_prompt=2,
        )
        assert item.pairs == len(pairs)
        assert item.informative_questions.count == len({pair.question_id for pair in pairs})


def test_every_prefix_from_two_on_is_counted_and_more_samples_give_more_pairs():
    found = diagnosed(**LISTENING)
    assert sorted({item.k for item in found.yields}) == [2, 3, 4]
    for regime in Regime:
        counts = [found.yield_of(regime, k) for k in (2, 3, 4)]
        assert counts == sorted(counts)


def test_a_fixer_that_ignores_critiques_gives_collab_no_pairs_and_indep_many():
    found = diagnosed(**DEAF)
    assert found.yield_of(Regime.COLLAB) == 0
    assert found.yield_of(Regime.INDEP) > 1
    assert all(item.informative_buckets.count == 0 for item in found.yields if item.regime is Regime.COLLAB)


# Labels


def test_confusion_counts_every_labelled_critique_once():
    totals = [sum(agreement.counts.values()) for agreement in diagnosed(**LISTENING).agreements]
    assert totals == [240 * 4] * (math.comb(len(Regime), 2) * len(Validator))


def test_strict_never_chooses_what_indep_rejects():
    agreements = diagnosed(**LISTENING).agreements
    seen = [item.counts for item in agreements if (item.first, item.second) == (Regime.INDEP, Regime.STRICT)]
    assert len(seen) == len(Validator)
    assert [counts.get((False, True), 0) for counts in seen] == [0, 0]
    assert all(counts[True, False] for counts in seen), "STRICT must choose less than INDEP here"


def test_kappa_is_cohens():
    agreement = replace(
        diagnosed(**LISTENING).agreements[0],
        counts={(True, True): 20, (True, False): 5, (False, True): 10, (False, False): 15},
    )
    assert agreement.agreement.value == 0.7
    assert agreement.kappa == pytest.approx(0.4)


# The fixer


def test_a_deaf_fixer_changes_nothing_and_right_critiques_do_not_help_it():
    seen = diagnosed(**DEAF).sensitivity
    assert (seen.changed.count, seen.distinct_fixes_per_plan) == (0, 1)
    assert seen.right_wrong.difference == 0
    assert not seen.right_wrong.interval.excludes_zero


def test_a_listening_fixer_changes_and_right_critiques_help_it():
    seen = diagnosed(**LISTENING).sensitivity
    assert seen.changed_given_feedback.value > 0.5
    assert seen.right_wrong.interval.low > 0.1
    assert seen.distinct_fixes_per_plan <= seen.distinct_feedbacks_per_plan <= seen.critiques_per_plan


def test_the_causal_effect_compares_critiques_of_the_same_plan_only():
    # This fixer's answer depends on the plan alone. Between plans, right critiques of right plans would look helpful.
    pool = synthetic_pool(2, PoolShape(listening=0.0, skill=0.9))
    effect = fixer_sensitivity(pool).right_wrong
    assert effect.plans > 50
    assert effect.difference == 0


def test_a_missing_verdict_is_neither_right_nor_wrong():
    pool = pool_of(**LISTENING)
    silent = tuple(replace(row, verdict=Verdict.MISSING) for row in pool.critiques)
    effect = fixer_sensitivity(Pool(pool.plans, silent, pool.fixes)).right_wrong
    assert effect.plans == 0
    assert effect.shown == "–"


def test_swapped_critiques_are_compared_within_the_plan_when_they_were_drawn():
    pool = pool_of(**LISTENING)
    swapped = [fix for fix in pool.fixes if fix.select_index == 3]
    assert fixer_sensitivity(pool).swapped is None
    assert fixer_sensitivity(pool, swapped).swapped.plans > 100


def test_without_a_gate_the_flows_agree_and_with_one_they_may_not():
    pool = pool_of(skill=0.5, listening=0.3)
    always = diagnose_pool(pool, policy=Policy(gate=Gate.ALWAYS), max_pairs_per_prompt=2)
    never = diagnose_pool(pool, policy=Policy(gate=Gate.ON_ERROR), max_pairs_per_prompt=2)
    assert (always.flow_disagreement.count, always.gate_open.value) == (0, 1)
    assert always.gated == always.always_fixed
    assert (never.gated.rescues.count, never.gated.harms.count, never.gate_open.count) == (0, 0, 0)
    assert never.flow_disagreement.value > 0.1


def test_sampled_verdicts_are_as_accurate_as_the_validators_skill():
    confusions = diagnosed(**LISTENING).confusions
    assert set(confusions) == set(Validator)
    for confusion in confusions.values():
        assert verdict_accuracy(confusion).accuracy.value == pytest.approx(0.7, abs=0.05)


@given(pools())
@settings(max_examples=25, deadline=None)
def test_any_pool_can_be_diagnosed_whatever_its_row_order(pool):
    assume(pool.critiques and pool.fixes)
    turned = Pool(pool.plans[::-1], pool.critiques[::-1], pool.fixes[::-1])
    one, two = (diagnose_pool(item, policy=Policy(), max_pairs_per_prompt=2) for item in (pool, turned))
    assert repr(one) == repr(two)
    first, second = (diagnosis_page([diagnose(Signal(item), regime) for regime in Regime]) for item in (one, two))
    assert first == second
    assert all(f"**{regime.value.upper()}: " in first for regime in Regime)


def test_a_pool_without_fixes_is_refused():
    pool = pool_of(**LISTENING)
    with pytest.raises(StageInputError, match="critiques and fixes"):
        diagnose_pool(Pool(pool.plans, pool.critiques), policy=Policy(gate=Gate.ALWAYS), max_pairs_per_prompt=2)


# Where the signal is lost


def outcome(regime, shape, seed=3):
    rows = synthetic_team(seed, shape)
    return rows, RegimeOutcome(regime, team_metrics(rows), {Validator.SELECT: 0.7, Validator.CONDITION: 0.8})


def compared(treatments, *, questions=400):
    """The regimes' outcomes, and their comparisons with INDEP as one family."""
    made = {Regime.INDEP: outcome(Regime.INDEP, TeamShape(validator_skill=0.75))}
    made |= {regime: outcome(regime, shape, seed) for regime, (shape, seed) in treatments.items()}
    baseline, *others = (ComparedTeam(regime.value, [rows]) for regime, (rows, _) in made.items())
    found = compare_question_sets(question_sets(range(questions), ()), baseline, others)
    return {regime: own for regime, (_, own) in made.items()}, found


def against_indep(shape, *, seed=3, pool=LISTENING, treatment=None):
    outcomes, found = compared({Regime.COLLAB_V2: (shape, seed)})
    own = replace(outcomes[Regime.COLLAB_V2], **(treatment or {}))
    trained = TrainedRegimes(outcomes[Regime.INDEP], own, found.of(ALL, "collab_v2"))
    return diagnose(Signal(diagnosed(**pool)), Regime.COLLAB_V2, trained)


def test_with_a_deaf_fixer_the_signal_is_lost_at_the_fixer():
    found = diagnose(Signal(diagnosed(**DEAF)), Regime.COLLAB)
    assert found.lost_at is Station.FIXER
    assert "lost at the fixer: the fix changes for 0.00% of plans" in found.sentence


def test_when_generation_and_inference_differ_collab_loses_it_between_them():
    pool = diagnose_pool(pool_of(skill=0.7, listening=0.7), policy=Policy(gate=Gate.ON_ERROR), max_pairs_per_prompt=2)
    assert diagnose(Signal(pool), Regime.COLLAB).lost_at is Station.FLOW
    assert diagnose(Signal(pool), Regime.COLLAB_V2).lost_at is not Station.FLOW


def test_a_healthy_pool_loses_nothing_up_to_the_pairs():
    found = diagnose(Signal(diagnosed(**LISTENING)), Regime.COLLAB_V2)
    assert found.lost_at is None
    assert "nothing is lost up to the pairs" in found.sentence


def test_badly_ranked_pairs_lose_it_in_training():
    found = against_indep(TeamShape(0.6, 0.1, 0.3), treatment={"reward_accuracy": {Validator.SELECT: 0.52}})
    assert found.lost_at is Station.TRAINING


def test_critiques_that_do_not_help_the_fixer_lose_it_at_inference():
    assert against_indep(TeamShape(validator_skill=0.6)).lost_at is Station.INFERENCE


def test_a_selector_that_picks_badly_loses_it_at_the_selector():
    found = against_indep(TeamShape(0.9, rescue=0.6, harm=0.02, selector_skill=-0.3))
    assert found.lost_at is Station.SELECTOR
    assert "lost at the selector" in found.sentence


def test_a_large_gain_arrives():
    found = against_indep(TeamShape(0.95, rescue=0.9, harm=0.0, selector_skill=2.0))
    assert found.lost_at is None
    assert "the signal arrives (+" in found.sentence
    assert "pp at selector EX over indep, distinguishable from 0)" in found.sentence


def test_a_gain_within_noise_is_not_called_an_arrival():
    found = against_indep(TeamShape(0.85, rescue=0.3, harm=0.1), seed=2)
    assert "not distinguishable from 0" in found.sentence


def test_the_page_shows_the_pools_numbers_and_ends_with_the_sentence():
    found = against_indep(TeamShape(validator_skill=0.6))
    page = diagnosis_page([found], [found.trained.baseline, found.trained.treatment])
    pool = found.signal.pool
    seen, effect = pool.sensitivity, pool.sensitivity.right_wrong
    indep = " | ".join(f"{pool.yield_of(Regime.INDEP, k):.2f}" for k in (2, 3, 4))
    assert f"| indep | {indep} | " in page
    assert f"| the same among plans whose feedback differs, % | {seen.changed_given_feedback.percent} |" in page
    assert f"| right against wrong verdict, same plan | {effect.shown} ({effect.plans:,}) |" in page
    assert f"(inference; open for {pool.gate_open.percent}%) | {pool.gated.rescues.percent} | " in page
    assert f" | {found.trained.treatment.metrics.scores.selector_ex.percent} |" in page
    assert page.endswith(f"**{found.sentence}**\n")


def test_the_diagnosis_and_the_comparison_give_one_verdict_where_holm_decides():
    shapes = {
        Regime.COLLAB: (TeamShape(0.85, 0.35, 0.08), 2),
        Regime.COLLAB_V2: (TeamShape(0.85, 0.35, 0.08), 11),
        Regime.STRICT: (TeamShape(0.95, rescue=0.9, harm=0.0, selector_skill=2.0), 3),
    }
    outcomes, found = compared(shapes)
    decided = found.of(ALL, "collab_v2")
    assert decided.decision_p <= 0.05 < decided.adjusted_p, "alone it would be called distinguishable"
    assert [one.distinguishable for one in found.on(ALL)] == [False, False, True]
    for regime in shapes:
        comparison = found.of(ALL, regime.value)
        trained = TrainedRegimes(outcomes[Regime.INDEP], outcomes[regime], comparison)
        sentence = diagnose(Signal(diagnosed(**LISTENING)), regime, trained).sentence
        assert ("not distinguishable" in sentence) == ("not distinguishable" in comparison.verdict)
        assert ("the signal arrives" in sentence) == comparison.distinguishable
        assert f"{100 * comparison.difference:+.2f} pp" in sentence


def test_a_lost_signal_says_whether_the_loss_is_distinguishable():
    small = against_indep(TeamShape(validator_skill=0.72), seed=3)
    assert small.lost_at is not None
    assert (
        f"({100 * small.trained.comparison.difference:+.2f} pp at selector EX over indep, not disting" in small.sentence
    )
    large = against_indep(TeamShape(0.5, rescue=0.0, harm=0.9, selector_skill=-1.0))
    assert "pp at selector EX over indep, distinguishable from 0)" in large.sentence
    assert "the signal is lost at" in large.sentence
