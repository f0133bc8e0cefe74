from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest

from mats_sql.choices import SeedsVary
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.comparisons import (
    ComparedControl,
    ComparedTeam,
    Comparisons,
    compare_question_sets,
    read_comparisons,
    write_comparisons,
)
from mats_sql.evaluation.comparison.statistics import compare_teams
from mats_sql.evaluation.question_results import restrict
from mats_sql.evaluation.report.gaps_page import comparison_page
from mats_sql.evaluation.sets import ALL, REST, question_sets
from mats_sql.sql.verdict import VerdictClass
from tests.evaluation.synthetic import TeamShape, synthetic_team

QUESTIONS, VALIDATION = range(220), range(60)
SETS = question_sets(QUESTIONS, VALIDATION)


def team(name, skill, *seeds):
    shape = TeamShape(validator_skill=skill)
    return ComparedTeam(name, [synthetic_team(seed, shape, questions=len(QUESTIONS), k=2) for seed in seeds])


INDEP, COLLAB, STRICT = team("INDEP", 0.6, 1, 2), team("COLLAB", 0.8, 3, 4), team("STRICT", 0.9, 5, 6)


@cache
def two_seeds():
    return compare_question_sets(SETS, INDEP, [COLLAB, STRICT])


@cache
def one_seed():
    return compare_question_sets(SETS, team("INDEP", 0.6, 1), [team("COLLAB", 0.8, 3)])


@cache
def controlled():
    return compare_question_sets(SETS, INDEP, [COLLAB, STRICT], [BALANCED, MATCHED])


def correct(side, ids):
    return [
        {row.question_id: (row.db_id, row.verdict is VerdictClass.CORRECT) for row in rows if row.selected}
        for rows in ([row for row in seed if row.question_id in ids] for seed in side.seeds)
    ]


def test_every_treatment_is_compared_on_both_question_sets():
    assert two_seeds().question_sets == (ALL, REST)
    assert [one.treatment for one in two_seeds().on(REST)] == ["COLLAB", "STRICT"]
    assert (two_seeds().of(ALL, "STRICT").questions, two_seeds().of(REST, "STRICT").questions) == (220, 160)


def test_a_gap_claims_of_its_seeds_only_what_both_sides_vary():
    sides = [replace(side, seeds_vary=vary) for side, vary in ((INDEP, SeedsVary.ALL), (COLLAB, SeedsVary.POOL))]
    found = compare_question_sets(SETS, sides[0], sides[1:]).of(ALL, "COLLAB")
    assert "over questions and seeds of pool and ORPO" in found.verdict


def test_without_a_validation_split_there_is_one_set():
    assert [one.name for one in question_sets(QUESTIONS, ())] == [ALL]
    assert [one.name for one in question_sets(QUESTIONS, QUESTIONS)] == [ALL]


@pytest.mark.parametrize("chosen", SETS, ids=lambda chosen: chosen.name)
def test_what_is_compared_is_the_selected_sql_of_the_sets_questions(chosen):
    alone = compare_teams(correct(INDEP, chosen.question_ids), correct(COLLAB, chosen.question_ids))
    found = two_seeds().of(chosen.name, "COLLAB")
    assert (found.difference, found.decision_p) == (alone.difference, alone.decision_p)
    assert (found.intervals, found.p_values) == (alone.intervals, alone.p_values)


def test_the_treatments_of_one_set_are_one_family():
    for name in (ALL, REST):
        low, high = sorted(two_seeds().on(name), key=lambda one: one.decision_p)
        assert low.adjusted_p == pytest.approx(min(1, 2 * low.decision_p))
        assert high.adjusted_p == pytest.approx(max(low.adjusted_p, high.decision_p))


BALANCED = ComparedControl("balanced INDEP", dict.fromkeys(("COLLAB", "STRICT"), team("INDEP (balanced)", 0.7, 7, 8)))
MATCHED = ComparedControl("matched INDEP", {"STRICT": team("INDEP (matched to STRICT)", 0.65, 9, 10)})


def test_each_kind_of_control_is_a_family_of_its_own_and_changes_no_other():
    assert controlled().controls == ("balanced INDEP", "matched INDEP")
    for name in (ALL, REST):
        assert controlled().on(name) == two_seeds().on(name)
        over = controlled().on(name, "balanced INDEP")
        assert [(one.treatment, one.baseline) for one in over] == [
            ("COLLAB", "INDEP (balanced)"),
            ("STRICT", "INDEP (balanced)"),
        ]
        low, high = sorted(over, key=lambda one: one.decision_p)
        assert low.adjusted_p == pytest.approx(min(1, 2 * low.decision_p))
        assert high.adjusted_p == pytest.approx(max(low.adjusted_p, high.decision_p))
        [only] = controlled().on(name, "matched INDEP")
        assert (only.treatment, only.adjusted_p) == ("STRICT", only.decision_p)
    assert controlled().of(ALL, "STRICT", "matched INDEP").baseline == "INDEP (matched to STRICT)"


def test_a_treatment_survives_when_it_is_above_baseline_and_controls_at_once():
    found = {survival.treatment: survival for survival in controlled().survivals(ALL)}
    assert {name: len(survival.gaps) for name, survival in found.items()} == {"COLLAB": 2, "STRICT": 3}
    largest = {name: max(gap.decision_p for gap in survival.gaps) for name, survival in found.items()}
    first, second = sorted(largest, key=lambda name: largest[name])
    assert found[first].adjusted_p == pytest.approx(min(1, 2 * largest[first]))
    assert found[second].adjusted_p == pytest.approx(max(found[first].adjusted_p, largest[second]))
    for survival in found.values():
        expected = survival.adjusted_p <= 0.05 and all(gap.difference > 0 for gap in survival.gaps)
        assert survival.survives is expected
        assert ("does not survive" in survival.sentence) is not expected
        assert all(f"pp over {gap.baseline}" in survival.sentence for gap in survival.gaps)


def test_one_control_that_is_as_good_takes_the_gain():
    shape = TeamShape(0.95, rescue=0.9, harm=0.0, selector_skill=2.0)
    best = ComparedTeam("STRICT", [synthetic_team(3, shape, questions=len(QUESTIONS), k=2)])
    alone = ComparedControl("weak", {"STRICT": team("weak", 0.5, 11)})
    same = ComparedControl("equal", {"STRICT": replace(best, name="equal")})
    [survives] = compare_question_sets(SETS[:1], team("INDEP", 0.5, 1), [best], [alone]).survivals(ALL)
    [fails] = compare_question_sets(SETS[:1], team("INDEP", 0.5, 1), [best], [alone, same]).survivals(ALL)
    assert (survives.survives, fails.survives, fails.least_gap, fails.adjusted_p) == (True, False, 0, 1)


def test_without_controls_nothing_is_said_of_survival():
    assert two_seeds().survivals(ALL) == ()
    assert not [name for name in two_seeds().as_mlflow() if "survives" in name]


def test_gaps_over_controls_have_names_of_their_own():
    values = controlled().as_mlflow()
    assert values["COLLAB/gap"] == two_seeds().as_mlflow()["COLLAB/gap"]
    over = controlled().of(REST, "STRICT", "matched INDEP")
    assert values["rest/STRICT/over matched INDEP/gap"] == over.difference
    assert values["STRICT/survives"] == float(controlled().survivals(ALL)[1].survives)


def test_the_page_shows_the_gaps_over_the_controls_and_what_they_leave():
    page = comparison_page(controlled(), notice="What can be seen.", looks=3)
    assert all(one.verdict in page for one in controlled().comparisons)
    assert all(survival.sentence in page for name in (ALL, REST) for survival in controlled().survivals(name))
    assert f"### What the controls leave, {ALL}" in page
    [collab] = [line for line in page.splitlines() if line.startswith("| COLLAB | ")][:1]
    assert collab.split(" | ")[3] == "–", "COLLAB has no matched control here"


@pytest.mark.parametrize(
    "made", [two_seeds, one_seed, lambda: Comparisons(()), controlled], ids=["seeds", "one seed", "none", "controls"]
)
def test_comparisons_survive_their_file_exactly(made, tmp_path):
    found = made()
    write_comparisons(tmp_path / "made" / "comparisons.json", found)
    read = read_comparisons(tmp_path / "made" / "comparisons.json")
    assert repr(read) == repr(found)  # every number in full, and NaN, which equals nothing
    assert [one.verdict for one in read.comparisons] == [one.verdict for one in found.comparisons]
    assert [one.databases for one in read.comparisons] == [one.databases for one in found.comparisons]
    assert read.as_mlflow() == found.as_mlflow()


def test_the_file_is_json_for_everyone(tmp_path):
    write_comparisons(tmp_path / "c.json", one_seed())

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    first = json.loads((tmp_path / "c.json").read_text(), parse_constant=refuse)["comparisons"][0]
    assert first["baseline_seeds"]["deviation"] == "NaN"
    assert first["difference"] == one_seed().of(ALL, "COLLAB").difference


def broken(change):
    def apply(content):
        change(content["comparisons"][0])
        return json.dumps(content)

    return apply


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: json.dumps(content)[:-9], "the file: Invalid JSON"),
        (lambda _: "[]", "Input should be"),
        (broken(lambda one: one.pop("adjusted_p")), "comparisons.0.adjusted_p: Field required"),
        (
            broken(lambda one: one.update(difference="large")),
            "comparisons.0.difference: Input should be a valid number",
        ),
        (broken(lambda one: one["intervals"]["seed"].pop("low")), "comparisons.0.intervals.seed.low"),
        (broken(lambda one: one.update(surprise=1)), "comparisons.0.surprise: Unexpected keyword argument"),
    ],
    ids=["torn", "a list", "a missing number", "a word", "half an interval", "an unknown field"],
)
def test_a_malformed_file_is_refused_in_one_line_that_names_the_place(damage, problem, tmp_path):
    path = tmp_path / "comparisons.json"
    write_comparisons(path, one_seed())
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(StageInputError) as raised:
        read_comparisons(path)
    assert problem in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(StageInputError, match=r"none\.json: No such file or directory; run compare$"):
        read_comparisons(tmp_path / "none.json")


def test_a_gap_that_was_not_compared_is_asked_for_in_vain():
    with pytest.raises(StageInputError, match=f"MAGIC on {ALL} was not .COLLAB on {ALL}, STRICT on {ALL}, "):
        two_seeds().of(ALL, "MAGIC")


def test_a_treatment_stands_for_one_comparison():
    with pytest.raises(StageInputError, match=r"'COLLAB'.* is there twice"):
        Comparisons((*one_seed().comparisons, one_seed().comparisons[0]))


def test_teams_on_different_questions_are_not_compared():
    short = ComparedTeam("SHORT", [restrict(rows, range(219)) for rows in COLLAB.seeds])
    with pytest.raises(StageInputError, match="the same questions"):
        compare_question_sets(SETS, INDEP, [short])


def test_metrics_are_named_by_set_and_by_treatment_where_there_are_several():
    assert two_seeds().as_mlflow()["rest/STRICT/gap"] == two_seeds().of(REST, "STRICT").difference
    assert two_seeds().as_mlflow()["COLLAB/p_adjusted"] == two_seeds().of(ALL, "COLLAB").adjusted_p
    assert one_seed().as_mlflow()["gap"] == one_seed().of(ALL, "COLLAB").difference
    assert one_seed().as_mlflow()["rest/gap"] == one_seed().of(REST, "COLLAB").difference


def test_the_page_says_every_verdict_and_the_look():
    page = comparison_page(two_seeds(), notice="What can be seen.", looks=3)
    assert [line for line in page.splitlines() if line.startswith(("COLLAB −", "STRICT −"))] == [
        one.verdict for name in (ALL, REST) for one in two_seeds().on(name)
    ]
    assert page.splitlines()[2] == "What can be seen."
    assert page.endswith("Look number 3 at the final set in this experiment.\n")


def test_the_verdict_follows_the_correction():
    one = one_seed().comparisons[0]
    assert "]: distinguishable (" in replace(one, adjusted_p=0.05).verdict
    assert "]: not distinguishable (" in replace(one, adjusted_p=0.0501).verdict
