from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, ttest_1samp
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests

from mats_sql.choices import SeedsVary
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.intervals import cluster_mean, tango_interval
from mats_sql.evaluation.comparison.over_seeds import over_seeds
from mats_sql.evaluation.comparison.paired import pair_runs
from mats_sql.evaluation.comparison.power import (
    best_of_n_overstatement,
    expected_maximum,
    minimal_detectable_effect,
    power_notice,
)
from mats_sql.evaluation.comparison.significance import holm, mcnemar_mid_p, sign_flip_p
from mats_sql.evaluation.comparison.statistics import compare_teams, corrected
from mats_sql.evaluation.report.results import comparison_table


def run(correct, databases=11):
    return {question: (f"db{question % databases}", bool(flag)) for question, flag in enumerate(correct)}


def noisy_run(generator, accuracy, questions=220, databases=11):
    return run(generator.random(questions) < accuracy, databases)


# Known values


@pytest.mark.parametrize(("gained", "lost", "p"), [(1, 7, 10 / 256), (0, 5, 1 / 32), (0, 0, 1), (4, 4, 1)])
def test_mid_p_mcnemar_is_the_published_and_the_hand_counted_value(gained, lost, p):
    # (1, 7): airway hyper-responsiveness, Fagerland, Lydersen and Laake 2013: .039
    assert mcnemar_mid_p(gained, lost) == pytest.approx(p)


def test_tangos_interval_is_the_published_one():
    # The same data in Fagerland, Lydersen and Laake 2014: -0.517 to -0.026
    interval = tango_interval(1, 7, 21)
    assert (interval.low, interval.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_tangos_interval_without_discordance_has_the_closed_form():
    z_squared = 1.959963984540054**2
    assert tango_interval(0, 0, 20).high == pytest.approx(z_squared / (20 + z_squared))


def test_tangos_interval_reaches_the_edge_when_everything_is_gained():
    assert tango_interval(20, 0, 20).high == 1.0
    assert 0.6 < tango_interval(20, 0, 20).low < 1


@pytest.mark.parametrize("sums", [[3, -1, 4, 1, -5, 9, 2], [1] * 11, [0, 0, 2, -2, 5], [7, 1]])
def test_the_sign_flip_test_equals_scipys_exhaustive_one(sums):
    listed = permutation_test((np.array(sums),), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(sums) == pytest.approx(listed.pvalue)


def test_the_smallest_sign_flip_p_of_eleven_databases_is_two_in_2048():
    assert sign_flip_p([1] * 11) == 2 / 2**11


def test_a_sign_flip_over_sixty_nine_databases_is_still_exact():
    assert sign_flip_p([1] * 69) == 2 / 2**69


def test_the_cluster_t_of_equal_clusters_is_the_t_test_of_their_means():
    values = {name: np.array(row, dtype=float) for name, row in {"a": [1, 0], "b": [1, 1], "c": [-1, 0]}.items()}
    expected = ttest_1samp([0.5, 1.0, -0.5], 0)
    got = cluster_mean(values)
    interval = expected.confidence_interval(0.95)
    assert got.p_value == pytest.approx(expected.pvalue)
    assert (got.interval().low, got.interval().high) == pytest.approx((interval.low, interval.high))


def test_the_cluster_t_of_unequal_clusters_is_statsmodels():
    generator = np.random.default_rng(1)
    values = {f"db{i}": generator.integers(-1, 2, 3 + 4 * i) + 0.1 * i for i in range(11)}
    answers, places = np.concatenate(list(values.values())), np.repeat(range(11), [len(v) for v in values.values()])
    clustered = {"groups": places, "df_correction": True}
    fit = OLS(answers, np.ones(len(answers))).fit(cov_type="cluster", cov_kwds=clustered, use_t=True)
    got = cluster_mean(values)
    assert (got.standard_error, got.p_value) == pytest.approx((fit.bse[0], fit.pvalues[0]))
    assert (got.interval().low, got.interval().high) == pytest.approx(tuple(fit.conf_int()[0]))


@pytest.mark.parametrize(("discordance", "points"), [(0.08, 2.0), (0.12, 2.5), (0.15, 2.8)])
def test_the_minimal_detectable_effect_is_the_references(discordance, points):
    assert round(100 * minimal_detectable_effect(1524, discordance), 1) == points


@pytest.mark.parametrize(("seeds", "points"), [(1, 3.7), (3, 3.0)])
def test_seed_noise_enters_the_minimal_detectable_effect(seeds, points):
    effect = minimal_detectable_effect(1524, 0.12, seeds=seeds, seed_noise=0.007)
    assert round(100 * effect, 1) == points


def test_power_at_the_minimal_detectable_effect_is_the_power_asked_for():
    generator, effect = np.random.default_rng(6), minimal_detectable_effect(1524, 0.1)
    shares = [(0.1 + effect) / 2, (0.1 - effect) / 2, 0.9]
    found = sum(mcnemar_mid_p(int(row[0]), int(row[1])) <= 0.05 for row in generator.multinomial(1524, shares, 4000))
    assert found / 4000 == pytest.approx(0.8, abs=0.03)


def test_one_point_is_found_in_less_than_three_of_ten_runs():
    assert minimal_detectable_effect(1524, 0.08, power=0.3) > 0.01


def test_the_best_of_twenty_trials_overstates_itself_by_two_to_five_points():
    low, high = best_of_n_overstatement(20, 300)
    assert 0.02 < low < 0.03 < 0.05 < high < 0.055


@pytest.mark.parametrize(("draws", "value"), [(1, 0), (2, 1 / math.sqrt(math.pi)), (20, 1.86748)])
def test_the_expected_maximum_of_normals_is_the_tabulated_one(draws, value):
    assert expected_maximum(draws) == pytest.approx(value, abs=1e-4)


def test_the_power_notice_names_questions_seeds_and_effects():
    assert "1,524 questions, 1 seed a side" in power_notice(1524)
    assert "2.5 pp at 12%" in power_notice(1524)


def test_holm_steps_down_and_never_reorders():
    adjusted = holm({"b": 0.04, "a": 0.01, "c": 0.03})
    assert list(adjusted) == ["b", "a", "c"]
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06}, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_holm_is_statsmodels(count):
    p_values = np.random.default_rng(count).uniform(0, 0.2, count)
    p_values[-1] = p_values[0]
    adjusted = holm({str(i): p for i, p in enumerate(p_values)})
    assert list(adjusted.values()) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_step_down_rule_of_its_paper(p_values):
    ordered, count, highest = sorted(p_values), len(p_values), 0.0
    wanted = []
    for rank, p in enumerate(ordered):
        highest = max(highest, min(1.0, (count - rank) * p))
        wanted.append(highest)
    assert sorted(holm({str(i): p for i, p in enumerate(p_values)}).values()) == pytest.approx(wanted, abs=1e-12)


# Properties

FLAGS = st.lists(st.booleans(), min_size=24, max_size=60)


@given(FLAGS, st.data())
@settings(max_examples=60, deadline=None)
def test_swapping_the_sides_flips_the_sign_and_nothing_else(flags, data):
    other = data.draw(st.lists(st.booleans(), min_size=len(flags), max_size=len(flags)))
    there, back = compare_teams(run(flags), run(other)), compare_teams(run(other), run(flags))
    assert there.difference == -back.difference
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert there.p_values.sign_flip == back.p_values.sign_flip
    assert there.decision_p == pytest.approx(back.decision_p)
    for level in ("question", "database"):
        one, two = getattr(there.intervals, level), getattr(back.intervals, level)
        assert (one.low, one.high) == pytest.approx((-two.high, -two.low), abs=1e-9)


@given(FLAGS)
@settings(max_examples=25, deadline=None)
def test_a_team_does_not_differ_from_itself(flags):
    same = compare_teams(run(flags), run(flags))
    assert (same.difference, same.decision_p, same.distinguishable) == (0, 1, False)
    assert same.intervals.question.low < 0 < same.intervals.question.high


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200))
@settings(max_examples=100, deadline=None)
def test_tangos_interval_holds_the_estimate_and_agrees_with_its_score_test(gained, lost, ties):
    questions = gained + lost + ties
    assume(questions)
    interval = tango_interval(gained, lost, questions)
    assert -1 <= interval.low <= (gained - lost) / questions <= interval.high <= 1
    if gained != lost:  # at difference 0 Tango's score is McNemar's statistic
        assert interval.excludes_zero == (abs(gained - lost) / math.sqrt(gained + lost) > 1.959963984540054)


@given(st.lists(st.integers(-9, 9), max_size=14), st.randoms(use_true_random=False))
def test_the_sign_flip_p_ignores_order_and_signs_of_all(sums, random):
    shuffled = random.sample(sums, len(sums))
    assert sign_flip_p(shuffled) == sign_flip_p(sums) == sign_flip_p([-value for value in sums])
    assert 0 < sign_flip_p(sums) <= 1


def test_the_sign_flip_test_keeps_its_size_when_questions_of_a_database_move_together():
    generator = np.random.default_rng(5)
    rejected = 0
    for _ in range(2000):
        shift = generator.normal(0, 0.5, 11)  # databases favour one side or the other, no side overall
        sums = [int(generator.binomial(100, 0.1) * np.sign(value) + 10 * value) for value in shift]
        rejected += sign_flip_p(sums) <= 0.05
    assert 0.035 < rejected / 2000 <= 0.06, f"type-I error {rejected / 2000}"


def clustered_run(generator, shift, questions=100):
    """A run whose accuracy moves with the database."""
    flags = {}
    for database, own in enumerate(shift):
        for question in range(questions):
            flags[database * questions + question] = (f"db{database}", bool(generator.random() < 0.5 + own))
    return flags


def test_when_databases_move_together_mcnemar_errs_and_the_decision_does_not():
    generator = np.random.default_rng(8)
    mcnemar = cluster = decided = 0
    for _ in range(300):
        shifts = generator.normal(0, 0.08, (2, 11))
        comparison = compare_teams(*(clustered_run(generator, shift) for shift in shifts))
        mcnemar += comparison.p_values.question <= 0.05
        cluster += comparison.p_values.cluster <= 0.05
        decided += comparison.distinguishable
    assert mcnemar / 300 > 0.10, "the simulation must be one in which questions are dependent"
    assert cluster / 300 < 0.08, f"type-I error of the cluster t {cluster / 300}"
    assert decided / 300 <= 0.06, f"type-I error of the decision {decided / 300}"


def test_the_decision_keeps_its_size_between_equal_teams():
    generator = np.random.default_rng(11)
    found = sum(compare_teams(noisy_run(generator, 0.6), noisy_run(generator, 0.6)).distinguishable for _ in range(400))
    assert found / 400 <= 0.05, f"type-I error {found / 400}"


def test_tangos_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(3)
    covered = 0
    for gained, lost in generator.multinomial(300, [0.08, 0.05, 0.87], size=1000)[:, :2]:
        interval = tango_interval(int(gained), int(lost), 300)
        covered += interval.low <= 0.03 <= interval.high
    assert 0.93 < covered / 1000 < 0.97, f"coverage {covered / 1000}"


# Behaviour


def test_a_clear_difference_is_called_distinguishable():
    better = compare_teams(run([i % 5 < 2 for i in range(1100)]), run([i % 5 < 3 for i in range(1100)]))
    assert better.distinguishable
    assert better.verdict.startswith("treatment − baseline = +20.00 pp [95% CI ")
    assert "]: distinguishable (" in better.verdict


def test_no_difference_is_called_not_distinguishable_and_names_the_uncovered_seed_noise():
    flags = [i % 2 for i in range(110)]
    same = compare_teams(run(flags), run(flags), names=("INDEP", "COLLAB"))
    assert same.verdict.startswith("COLLAB − INDEP = +0.00 pp")
    assert "not distinguishable" in same.verdict
    assert "seed noise is not covered" in same.verdict


def test_one_database_that_carries_the_gap_does_not_make_it_distinguishable():
    baseline = run([0] * 1100)
    treatment = run([i % 11 == 0 for i in range(1100)])
    comparison = compare_teams(baseline, treatment)
    assert comparison.p_values.question < 1e-6
    assert not comparison.distinguishable


def test_with_few_databases_the_claim_is_limited_to_them():
    comparison = compare_teams(run([0] * 60, 3), run([1] * 60, 3))
    assert comparison.distinguishable
    assert "these 3 databases only" in comparison.verdict


def test_one_database_has_no_interval_over_databases():
    comparison = compare_teams(run([0, 1, 0, 1], 1), run([1, 1, 0, 1], 1))
    assert not comparison.intervals.database.known
    assert "gap_low_over_databases" not in comparison.as_mlflow()


def test_several_seeds_are_compared_by_their_means_and_their_noise_is_reported():
    generator = np.random.default_rng(2)
    baseline = [noisy_run(generator, 0.5) for _ in range(3)]
    treatment = [noisy_run(generator, 0.55) for _ in range(3)]
    comparison = compare_teams(baseline, treatment)
    means = [np.mean([[flag for _, flag in one.values()] for one in side]) for side in (baseline, treatment)]
    assert comparison.difference == pytest.approx(means[1] - means[0])
    assert comparison.baseline_seeds.deviation > 0
    assert "over questions and ORPO seeds" in comparison.verdict
    assert not math.isnan(comparison.p_values.seed)


def test_noise_shared_by_a_whole_seed_widens_the_interval_over_seeds():
    generator = np.random.default_rng(4)
    fixed = generator.random(440)
    baseline = [run(fixed < level) for level in (0.50, 0.60, 0.55)]
    treatment = [run(fixed < level) for level in (0.52, 0.62, 0.66)]
    intervals = compare_teams(baseline, treatment).intervals
    assert intervals.seed.high - intervals.seed.low > 1.5 * (intervals.question.high - intervals.question.low)


def replicates(generator, seeds, *, shared, own, questions=600):
    """Return two equally good teams: what each seed does to both of them, and to each by itself, are deviations."""
    easy, sides = generator.random(questions), ([], [])
    for _ in range(seeds):
        both = generator.normal(0, shared)
        for side in sides:
            draws = np.where(generator.random(questions) < 0.2, generator.random(questions), easy)
            side.append(run(draws < 0.5 + both + generator.normal(0, own)))
    return sides


@pytest.mark.parametrize("vary", [SeedsVary.POOL, SeedsVary.ALL])
def test_what_the_seeds_of_both_sides_share_does_not_widen_the_interval_over_them(vary):
    sides = replicates(np.random.default_rng(5), 5, shared=0.1, own=0.0)
    alone, shared = (compare_teams(*sides, seeds_vary=one) for one in (SeedsVary.ORPO, vary))
    widths = [one.intervals.seed.high - one.intervals.seed.low for one in (alone, shared)]
    assert widths[1] < 0.5 * widths[0]
    assert shared.intervals.question == alone.intervals.question
    assert shared.minimal_detectable_effect < alone.minimal_detectable_effect


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("own", [0.01, 0.03])
def test_the_interval_over_shared_seeds_covers_the_truth_as_often_as_it_says(seeds, own):
    generator = np.random.default_rng(seeds)
    found = (pair_runs(*replicates(generator, seeds, shared=0.05, own=own)) for _ in range(200))
    intervals = [over_seeds(data, SeedsVary.ALL, 0.05)[0] for data in found]
    assert np.mean([interval.low <= 0 <= interval.high for interval in intervals]) >= 0.93


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([0.02, 0.05, 0.2]))
def test_over_shared_seeds_the_p_value_and_the_interval_say_the_same(start, seeds, alpha):
    sides = replicates(np.random.default_rng(start), seeds, shared=0.02, own=0.02, questions=60)
    there, back = (compare_teams(*pair, seeds_vary=SeedsVary.ALL, alpha=alpha) for pair in (sides, sides[::-1]))
    assert (there.p_values.seed <= alpha) == there.intervals.seed.excludes_zero
    assert back.p_values.seed == pytest.approx(there.p_values.seed)
    assert back.intervals.seed.low == pytest.approx(-there.intervals.seed.high)


def test_sides_of_unequal_seeds_are_not_paired():
    base, better = replicates(np.random.default_rng(6), 4, shared=0.05, own=0.0)
    known = [compare_teams(base[:3], better, seeds_vary=one).intervals.seed for one in (SeedsVary.ORPO, SeedsVary.ALL)]
    assert known[0] == known[1]


@pytest.mark.parametrize(
    ("vary", "covered"),
    [
        (SeedsVary.ORPO, "over questions and ORPO seeds"),
        (SeedsVary.POOL, "over questions and seeds of pool and ORPO"),
        (SeedsVary.ALL, "over questions and seeds of SFT, pool and ORPO"),
    ],
)
def test_a_comparison_says_what_its_seeds_cover(vary, covered):
    comparison = compare_teams(*replicates(np.random.default_rng(7), 2, shared=0.0, own=0.0), seeds_vary=vary)
    assert f" {covered}]" in comparison.verdict
    assert covered in comparison_table([comparison]).to_markdown()


def test_repeating_one_seed_is_no_more_evidence_on_databases_than_one():
    flags, other = [i % 3 == 0 for i in range(110)], [i % 2 == 0 for i in range(110)]
    once, thrice = compare_teams(run(flags), run(other)), compare_teams([run(flags)] * 3, [run(other)] * 3)
    assert once.p_values.sign_flip == thrice.p_values.sign_flip
    assert once.p_values.cluster == pytest.approx(thrice.p_values.cluster)
    assert once.difference == pytest.approx(thrice.difference)


def test_several_regimes_are_corrected_together():
    base = run([i % 10 < 5 for i in range(330)])
    better = run([i % 10 < 5 or i % 30 == 9 for i in range(330)])
    both = corrected(
        [compare_teams(base, runs, names=("INDEP", name)) for name, runs in (("COLLAB", better), ("STRICT", base))]
    )
    alone = compare_teams(base, better)
    assert [comparison.treatment for comparison in both] == ["COLLAB", "STRICT"]
    assert both[0].adjusted_p == pytest.approx(2 * alone.decision_p)
    assert "Holm-adjusted" in both[0].verdict


@pytest.mark.parametrize(
    ("baseline", "treatment", "rule"),
    [
        ({}, {}, "a run with questions"),
        (run([1, 0]), [], "a run with questions"),
        (run([1, 0]), run([1, 0, 1]), "the same questions, but they differ in 1"),
        (run([1, 0], 1), run([1, 0], 2), "the same questions"),
    ],
)
def test_sides_that_cannot_be_compared_are_refused(baseline, treatment, rule):
    with pytest.raises(StageInputError, match=rule):
        compare_teams(baseline, treatment)
