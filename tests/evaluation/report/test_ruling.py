"""The verdict in words: what may be claimed of a treatment, by the rule of docs/report.md."""

from __future__ import annotations

import math

import pytest

from mats_sql.choices import SeedsVary
from mats_sql.evaluation.comparison.bootstrap import margin_shares
from mats_sql.evaluation.comparison.comparisons import ComparedControl, ComparedTeam, compare_question_sets
from mats_sql.evaluation.comparison.paired import pair_runs
from mats_sql.evaluation.comparison.ruling import Finding, Ruling, rulings
from mats_sql.evaluation.report.results import comparison_table
from mats_sql.evaluation.sets import ALL, REST, question_sets
from tests.evaluation.synthetic import candidate

QUESTIONS, DATABASES = 440, 11
BASE = frozenset(range(0, QUESTIONS, 2))


def team(name, right, databases=DATABASES):
    rows = [
        candidate(item, correct=item in right, selected=True, db_id=f"database_{item % databases:02d}")
        for item in range(QUESTIONS)
    ]
    return ComparedTeam(name, [tuple(rows)])


def better(by):
    """BASE and every ``by``-th of the questions that it gets wrong, spread over all databases."""
    return BASE | frozenset(list(range(1, QUESTIONS, 2))[::by])


def ruled(treated, control=None, databases=DATABASES) -> Ruling:
    controls = (
        [] if control is None else [ComparedControl("matched INDEP", {"NEW": team("MATCHED", control, databases)})]
    )
    sets = question_sets(range(QUESTIONS), range(40))
    gaps = compare_question_sets(sets, team("INDEP", BASE, databases), [team("NEW", treated, databases)], controls)
    return rulings(gaps, ALL)[0]


def test_a_gap_over_the_baseline_and_every_control_beats_it():
    ruling = ruled(better(5), control=BASE)
    assert ruling.finding is Finding.BEATS
    assert ruling.sentence.startswith("On all usable dev questions, NEW beats INDEP: +10.00 pp over 440 questions.")
    assert not ruling.lacking


def test_a_gap_that_its_control_has_too_is_above_and_says_which_control_is_not_beaten():
    ruling = ruled(better(5), control=better(5))
    assert ruling.finding is Finding.UNEXPLAINED
    assert "is above INDEP" in ruling.sentence
    assert "does not survive its controls" in ruling.sentence
    assert "over MATCHED" in ruling.sentence
    assert "not distinguishable" not in ruling.sentence


def test_a_gap_without_controls_is_above_and_beats_nothing():
    ruling = ruled(better(5))
    assert ruling.finding is Finding.UNCONTROLLED
    assert "controls, which were not run" in ruling.sentence


def test_a_loss_is_said_as_plainly_as_a_gain():
    ruling = ruled(BASE - frozenset(sorted(BASE)[::5]), control=BASE)
    assert (ruling.finding, ruling.lacking) == (Finding.BEATEN, ())
    assert "NEW is below INDEP: -10.00 pp" in ruling.sentence


def test_a_small_gap_is_not_distinguishable_and_no_evidence_of_none():
    ruling = ruled(better(80), control=BASE)
    assert ruling.finding is Finding.OPEN
    assert "minimal detectable effect" in ruling.sentence
    assert "no evidence of none" in ruling.sentence


def test_teams_that_never_disagree_have_no_minimal_detectable_effect():
    ruling = ruled(BASE)
    assert math.isnan(ruling.gap.minimal_detectable_effect)
    assert "right on the same questions" in ruling.sentence
    table = comparison_table([ruling.gap])
    assert dict(zip(table.columns, table.rows[0], strict=True))["MDE pp"] is None
    assert "0.00 pp" not in ruling.sentence.replace("+0.00 pp", "")
    assert "minimal_detectable_effect" not in ruling.gap.as_mlflow()


def test_few_databases_and_one_seed_are_said_with_the_finding():
    assert "holds for these 3 databases only" in ruled(better(5), control=BASE, databases=3).sentence
    assert "holds for this 1 database only" in ruled(better(5), control=BASE, databases=1).sentence
    assert "seed noise is not covered" in ruled(better(5), control=BASE).sentence


def test_outside_validation_is_ruled_on_its_own_questions():
    gaps = compare_question_sets(
        question_sets(range(QUESTIONS), range(40)), team("INDEP", BASE), [team("NEW", better(5))]
    )
    ruling = rulings(gaps, REST)[0]
    assert ruling.gap.questions == 400
    assert ruling.sentence.startswith("Outside the validation split, NEW is above")


@pytest.mark.parametrize(("by", "low", "high"), [(2, 1.0, 1.0), (80, 0.2, 0.8)])
def test_a_margins_share_is_near_one_for_a_large_gap_and_open_for_a_small_one(by, low, high):
    gap = ruled(better(by)).gap
    one, two = gap.margins
    assert (one.margin, two.margin) == (0.01, 0.02)
    assert low <= one.share <= high
    assert two.share <= one.share


def test_shares_of_equal_answers_are_equal_and_depend_on_no_order_of_calls():
    first = ruled(better(20)).gap.margins
    ruled(better(3))
    assert ruled(better(20)).gap.margins == first


def test_a_margin_is_reached_by_every_resample_of_a_gap_that_is_the_same_everywhere():
    runs = [{item: (f"database_{item % 3}", right) for item in range(60)} for right in (False, True)]
    shares = margin_shares(pair_runs(runs[0], runs[1]), SeedsVary.ORPO, 0.5)
    assert [one.share for one in shares] == [1.0, 1.0]
