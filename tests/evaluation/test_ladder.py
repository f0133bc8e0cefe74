"""The ladder: what a response shows, whose critiques are borrowed, how it is counted, what perfect parts would give."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mats_sql.agents.critique import Critique, Validator, Verdict
from mats_sql.benchmark.question import Question
from mats_sql.choices import Gate, PoolRule, SelectorRule
from mats_sql.config import Policy
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.clustered import clustered_gain, clustered_share
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.evaluation.diagnosis.borrowed import borrowed_critiques
from mats_sql.evaluation.diagnosis.error_signs import ErrorSign, error_sign
from mats_sql.evaluation.diagnosis.gates import FixedAnswers, Gates, Maker, PerfectPart, gated, gates_of
from mats_sql.evaluation.diagnosis.ladder import PlanGroup, ladder_of, read_ladder, write_ladder
from mats_sql.evaluation.diagnosis.ladder_report import ladder_page, ladder_tables
from mats_sql.evaluation.diagnosis.ladder_rows import (
    CritiqueKind,
    LadderCritique,
    LadderFix,
    LadderPlan,
    LadderRows,
)
from mats_sql.evaluation.report.terminal import print_tables
from mats_sql.sql.execution import Execution, Outcome, Value
from mats_sql.sql.verdict import VerdictClass
from mats_sql.team.flow import Task, TeamAnswer
from mats_sql.team.policy import Candidate, join_fix, select, wants_fix, with_groups

# What a response shows


def rows(*found: tuple[Value, ...], columns: int = 1, count: int | None = None) -> Execution:
    outcome = Outcome.ROWS if found else Outcome.EMPTY
    return Execution(outcome, ("c",) * columns, found, len(found) if count is None else count)


ONE, TWO = rows(("a",)), rows(("a",), ("b",))


@pytest.mark.parametrize(
    ("wrong", "gold", "sign"),
    [
        (Execution(Outcome.ERROR, error="no such column"), ONE, ErrorSign.FAILED),
        (Execution(Outcome.TIMEOUT), ONE, ErrorSign.FAILED),
        (rows(), ONE, ErrorSign.NO_ROWS),
        (rows((None,)), ONE, ErrorSign.BLANK),
        (rows((0,), (0.0,)), ONE, ErrorSign.BLANK),
        (rows((0,)), rows((None,)), ErrorSign.HIDDEN),
        (rows((0, "a"), columns=2), rows((1, "a"), columns=2), ErrorSign.HIDDEN),
        (rows(("a", "b"), columns=2), ONE, ErrorSign.COLUMNS),
        (rows(("b",), ("b",)), ONE, ErrorSign.DOUBLED),
        (rows(("b",), ("c",), ("b",), ("c",)), TWO, ErrorSign.DOUBLED),
        (rows(("b",), ("b",), ("c",), ("c",), ("d",), count=6), TWO, ErrorSign.DOUBLED),
        (rows(("b",), ("b",), ("c",)), TWO, ErrorSign.HIDDEN),
        (rows(("b",), ("b",)), rows(("a",), ("a",)), ErrorSign.HIDDEN),
        (rows(("b",)), ONE, ErrorSign.HIDDEN),
        (rows(("b",)), rows(), ErrorSign.HIDDEN),
    ],
)
def test_the_first_sign_of_error_in_a_response_is_named(wrong: Execution, gold: Execution, sign: ErrorSign) -> None:
    assert error_sign(wrong, gold) is sign


cells = st.sampled_from(["a", "b", 1, 2])
results = st.lists(st.tuples(cells), min_size=1, max_size=5).map(lambda found: rows(*found))


@given(results)
def test_a_response_equal_to_golds_shows_nothing(found: Execution) -> None:
    assert error_sign(found, found) is ErrorSign.HIDDEN


@given(st.lists(cells, min_size=1, max_size=2, unique=True), st.integers(2, 3))
def test_rows_all_repeated_show_it_in_any_order(values: list[Value], times: int) -> None:
    doubled = [(value,) for value in values] * times
    assert error_sign(rows(*doubled), rows(*{(value,) for value in values})) is ErrorSign.DOUBLED


# Borrowed critiques


def said(validator: Validator, verdict: Verdict, text: str = "") -> Critique:
    return Critique(validator, text, verdict)


def both(select: Verdict, condition: Verdict, text: str = "") -> tuple[Critique, ...]:
    return said(Validator.SELECT, select, text), said(Validator.CONDITION, condition, text)


plan_keys = st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abc")), min_size=1, max_size=12, unique=True)


@given(plan_keys, st.sets(st.integers(0, 11)), st.integers(0, 3))
def test_borrowed_critiques_complain_about_a_wrong_plan_of_another_question(
    keys: list[tuple[int, str]], right: set[int], seed: int
) -> None:
    wrong = [key for index, key in enumerate(keys) if index not in right]
    verdicts = {key: Verdict.INCORRECT if key in wrong else Verdict.CORRECT for key in keys}
    true = {key: both(Verdict.CORRECT, verdicts[key], f"{key}") for key in keys}
    found = borrowed_critiques(true, wrong, seed)
    assert found == borrowed_critiques(dict(reversed(true.items())), wrong[::-1], seed)
    for key in keys:
        donors = [critiques for donor, critiques in true.items() if donor in wrong and donor[0] != key[0]]
        assert (key in found) == bool(donors)
        assert not donors or found[key] in donors


# Shares and gains


def test_a_share_has_a_cluster_interval_over_six_databases_or_more_that_differ_and_else_wilsons() -> None:
    spread = clustered_share([(f"db{number}", number % 2 == 0) for number in range(6) for _ in range(30)])
    assert spread.proportion == Proportion(90, 180)
    assert (spread.interval.low, spread.interval.high) == (0.0, 1.0), "six databases that differ wholly say little"
    few = clustered_share([(f"db{number}", number % 2 == 0) for number in range(4) for _ in range(30)])
    assert (few.interval.low, few.interval.high) == Proportion(60, 120).wilson_interval()
    none = clustered_share([(f"db{number}", False) for number in range(6) for _ in range(4)])
    assert none.interval.high > 0.1, "0 of 24 is not certainly 0%"
    assert clustered_share([]).proportion.total == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.booleans(), st.booleans()), min_size=2, max_size=30))
def test_a_gain_is_the_difference_of_the_shares_and_its_interval_holds_it(pairs: list[tuple[str, bool, bool]]) -> None:
    gain = clustered_gain(pairs)
    before, after = (clustered_share((pair[0], bool(pair[side])) for pair in pairs).proportion for side in (1, 2))
    assert gain.difference == pytest.approx(after.value - before.value)
    assert gain.interval.low <= gain.difference + 1e-9
    assert gain.interval.high >= gain.difference - 1e-9
    assert gain.interval.low >= -1
    assert gain.interval.high <= 1


# Gates

verdicts = st.sampled_from(list(Verdict))
QUESTION = Question(0, "db", "?", "", "simple")


@st.composite
def drawn_answers(draw: st.DrawFn) -> tuple[Policy, list[list[Candidate]], dict[str, str | None]]:
    """A policy, the plans of a few questions (SQL ``w…`` is wrong, ``r…`` right), and the fixer's SQL by plan SQL."""
    policy = Policy(
        k=3,
        gate=draw(st.sampled_from(list(Gate))),
        pool=draw(st.sampled_from(list(PoolRule))),
        selector=draw(st.sampled_from(list(SelectorRule))),
    )
    sqls = st.sampled_from([None, "w1", "w2", "r1", "r2"])
    groups = []
    for _ in range(draw(st.integers(1, 4))):
        own = {sql: both(draw(verdicts), draw(verdicts)) for sql in ("w1", "w2", "r1", "r2")}
        groups.append(
            [
                Candidate(index, "plan", sql, ran(sql), own[sql] if sql else ())
                for index, sql in enumerate(draw(st.lists(sqls, min_size=3, max_size=3)))
            ]
        )
    return policy, groups, {sql: draw(sqls) for sql in ("w1", "w2", "r1", "r2")}


def ran(sql: str | None) -> Execution:
    if sql in (None, "w1"):
        return Execution(Outcome.ERROR)
    return Execution(Outcome.ROWS, ("c",), ((sql,),), 1, "right" if sql.startswith("r") else sql)


def score(row: Candidate) -> Candidate:
    return replace(row, score=None if row.sql is None else (len(row.sql) + ord(row.sql[0]) + ord(row.sql[1])) / 500)


def answered(policy: Policy, groups: list[list[Candidate]], fixes: dict[str, str | None]) -> list[TeamAnswer]:
    """Return what the flow makes of plans and fixes under a policy, without engines."""
    answers = []
    for position, group in enumerate(groups):
        joined = [
            row
            for plan in group
            for row in (
                join_fix(policy, plan, fixes[plan.sql], ran(fixes[plan.sql]))
                if plan.sql is not None and wants_fix(policy, plan)
                else [plan]
            )
        ]
        scored = [score(row) if row.eligible else row for row in with_groups(joined)]
        task = Task(replace(QUESTION, question_id=position, db_id=f"db{position % 2}"), "", Path())
        answers.append(TeamAnswer(task, select(policy, scored)))
    return answers


def everything(policy: Policy, groups: list[list[Candidate]], fixes: dict[str, str | None]) -> list[TeamAnswer]:
    every = policy.model_copy(update={"gate": Gate.ALWAYS, "pool": PoolRule.KEEP_BOTH})
    return answered(every, groups, fixes)


CORRECT = {(position, sql): sql.startswith("r") for position in range(4) for sql in ("w1", "w2", "r1", "r2")}
TRUE = {
    sql: both(*([Verdict.CORRECT if sql.startswith("r") else Verdict.INCORRECT] * 2))
    for sql in ("w1", "w2", "r1", "r2")
}
IDEAL: dict[str, str | None] = {"w1": "r1", "w2": "r1", "r1": "r1", "r2": "r2"}


def taught(groups: list[list[Candidate]]) -> list[list[Candidate]]:
    return [[replace(row, critiques=TRUE.get(row.sql or "", ())) for row in group] for group in groups]


def climbed(policy: Policy, groups: list[list[Candidate]], fixes: dict[str, str | None]) -> Gates:
    made = FixedAnswers(
        everything(policy, groups, fixes), everything(policy, taught(groups), fixes), everything(policy, groups, IDEAL)
    )
    return gates_of(policy, made, CORRECT)


def ex(answers: list[TeamAnswer]) -> int:
    return sum(
        answer.selected.sql is not None and CORRECT[answer.task.question.question_id, answer.selected.sql]
        for answer in answers
    )


@settings(deadline=None)
@given(drawn_answers())
def test_the_teams_own_gate_gives_the_teams_own_answers(
    drawn: tuple[Policy, list[list[Candidate]], dict[str, str | None]],
) -> None:
    policy, groups, fixes = drawn
    own = answered(policy, groups, fixes)
    assert gated(policy, everything(policy, groups, fixes), CORRECT, Maker.OWN) == own
    found = climbed(policy, groups, fixes)
    assert found.ex(Maker.OWN, Maker.OWN).proportion == Proportion(ex(own), len(groups))
    told_true = answered(policy, taught(groups), fixes)
    assert found.ex(Maker.OWN, Maker.PERFECT).proportion == Proportion(ex(told_true), len(groups))


@settings(deadline=None)
@given(drawn_answers())
def test_a_perfect_gate_fixes_exactly_the_wrong_plans(
    drawn: tuple[Policy, list[list[Candidate]], dict[str, str | None]],
) -> None:
    policy, groups, fixes = drawn
    for answer in gated(policy, everything(policy, groups, fixes), CORRECT, Maker.PERFECT):
        for row in answer.candidates:
            assert row.origin == "fix" or row.gate_open == (row.sql is not None and row.sql.startswith("w"))


@settings(deadline=None)
@given(drawn_answers())
def test_gains_are_against_the_team_as_it_is_and_a_perfect_choice_reaches_the_oracle(
    drawn: tuple[Policy, list[list[Candidate]], dict[str, str | None]],
) -> None:
    policy, groups, fixes = drawn
    found, own = climbed(policy, groups, fixes), answered(policy, groups, fixes)
    gains = {item.part: item for item in found.gains}
    for item in found.gains:
        assert item.gain.difference == pytest.approx(item.ex.proportion.value - ex(own) / len(groups))
    reachable = sum(
        any(row.eligible and (row.sql or "").startswith("r") for row in answer.candidates) for answer in own
    )
    assert gains[PerfectPart.CHOICE].ex.proportion.count == reachable
    assert gains[PerfectPart.CHOICE].gain.difference >= 0
    assert gains[PerfectPart.GATE].ex == found.ex(Maker.PERFECT, Maker.OWN)
    assert gains[PerfectPart.GATE_AND_CRITIQUES].ex == found.ex(Maker.PERFECT, Maker.PERFECT)


@given(drawn_answers())
def test_a_perfect_fixer_that_is_always_asked_and_replaces_is_always_right(
    drawn: tuple[Policy, list[list[Candidate]], dict[str, str | None]],
) -> None:
    policy, groups, fixes = drawn
    asked = policy.model_copy(update={"gate": Gate.ALWAYS, "pool": PoolRule.REPLACE})
    groups = [[row for row in group if row.sql is not None] for group in groups]
    groups = [[replace(row, sample_index=index) for index, row in enumerate(group)] for group in groups if group]
    if groups:
        fixer = next(item for item in climbed(asked, groups, fixes).gains if item.part is PerfectPart.FIXER)
        assert fixer.ex.proportion == Proportion(len(groups), len(groups))


def test_without_a_fixer_no_gate_changes_anything() -> None:
    policy = Policy(k=1, selector=SelectorRule.FIRST)
    task = Task(QUESTION, "", Path())
    plans = [TeamAnswer(task, select(policy, with_groups([Candidate(0, "plan", "w2", ran("w2"), ())])))]
    found = gates_of(policy, FixedAnswers(plans, plans, plans), CORRECT)
    assert {cell.ex.proportion.count for cell in found.cells} == {0}
    assert gated(policy, plans, CORRECT, Maker.PERFECT) == plans


# Counting


def plan(number: int, sign: ErrorSign | None) -> LadderPlan:
    verdict = VerdictClass.CORRECT if sign is None else VerdictClass.WRONG
    outcome = Outcome.ERROR if sign is ErrorSign.FAILED else Outcome.ROWS
    return LadderPlan(f"p{number}", number, f"db{number % 3}", f"SELECT {number}", outcome, "", verdict, sign)


SIGNS = (ErrorSign.FAILED, ErrorSign.NO_ROWS, ErrorSign.HIDDEN, ErrorSign.HIDDEN, None, None)
PLANS = tuple(plan(number, sign) for number, sign in enumerate(SIGNS))


def critique(owner: LadderPlan, validator: Validator, verdict: Verdict, *, right: bool) -> LadderCritique:
    truth = Verdict.CORRECT if owner.correct else Verdict.INCORRECT
    return LadderCritique(owner.plan_id, validator, "…", verdict, "…", truth, right)


def fix(owner: LadderPlan, kind: CritiqueKind, *, ends: bool) -> LadderFix:
    return LadderFix(owner.plan_id, kind, "none", "SELECT", ends)


def ladder_rows() -> LadderRows:
    critiques = [
        critique(PLANS[0], Validator.SELECT, Verdict.INCORRECT, right=False),
        critique(PLANS[1], Validator.SELECT, Verdict.INCORRECT, right=True),
        critique(PLANS[2], Validator.SELECT, Verdict.CORRECT, right=False),
        critique(PLANS[3], Validator.SELECT, Verdict.INCORRECT, right=True),
        critique(PLANS[4], Validator.SELECT, Verdict.INCORRECT, right=False),
        critique(PLANS[5], Validator.SELECT, Verdict.CORRECT, right=True),
    ]
    ends = {CritiqueKind.NONE: "----rr", CritiqueKind.OWN: "-r--r-", CritiqueKind.TRUE: "rrr-rr"}
    fixes = [
        fix(owner, kind, ends=mark == "r")
        for kind, marks in ends.items()
        for owner, mark in zip(PLANS, marks, strict=True)
    ]
    return LadderRows(PLANS, tuple(critiques), tuple(fixes))


def some_ladder(rows: LadderRows | None = None):
    policy = Policy(k=3, selector=SelectorRule.FIRST)
    groups = [
        [Candidate(0, "plan", sql, ran(sql), both(Verdict.CORRECT, Verdict.CORRECT))] for sql in ("w2", "w2", "r1")
    ]
    gates = climbed(policy, groups, {"w1": None, "w2": "r1", "r1": "w2", "r2": "w2"})
    return ladder_of("SFT-VF", "dev", rows or ladder_rows(), gates)


def test_rungs_count_the_plans_of_each_group_that_end_right() -> None:
    ladder = some_ladder()
    counted = {
        group: tuple(ladder.rung(group, kind).proportion.count for kind in list(CritiqueKind)[:3])
        for group in PlanGroup
    }
    assert counted == {
        PlanGroup.WRONG: (0, 1, 3),
        PlanGroup.FAILED: (0, 0, 1),
        PlanGroup.RAN: (0, 1, 2),
        PlanGroup.SHOWN: (0, 1, 2),
        PlanGroup.HIDDEN: (0, 0, 1),
        PlanGroup.RIGHT: (2, 1, 2),
    }
    totals = {group: ladder.rung(group, CritiqueKind.OWN).proportion.total for group in PlanGroup}
    assert list(totals.values()) == [4, 1, 3, 2, 2, 2]


def test_content_is_counted_over_complaints_about_wrong_plans_and_recall_over_all() -> None:
    (seen,) = some_ladder().validators
    assert seen.content[PlanGroup.WRONG].proportion == Proportion(2, 3)
    assert seen.content[PlanGroup.SHOWN].proportion == Proportion(1, 2)
    assert seen.content[PlanGroup.HIDDEN].proportion == Proportion(1, 1)
    assert seen.recall_wrong.proportion == Proportion(3, 4)
    assert seen.recall_right.proportion == Proportion(1, 2)


def test_the_weakest_station_is_the_single_part_that_would_gain_most() -> None:
    ladder = some_ladder()
    gains = {item.part: item.gain.difference for item in ladder.gates.gains}
    assert gains[PerfectPart.GATE] == pytest.approx(2 / 3)
    assert gains[PerfectPart.FIXER] == 0, "this team asks its fixer nothing"
    assert ladder.weakest is not None
    assert ladder.weakest.part is PerfectPart.GATE
    assert "the weakest station is the gate: a perfect one would gain +66.67 pp" in ladder.sentence
    flat = replace(ladder, gates=replace(ladder.gates, gains=ladder.gates.gains[:1]))
    assert flat.weakest is None
    assert "no single perfect part would gain anything" in flat.sentence


def test_a_ladder_is_read_back_as_it_was_written_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    ladder = some_ladder()
    write_ladder(tmp_path / "ladder.json", ladder)
    assert repr(read_ladder(tmp_path / "ladder.json")) == repr(ladder)
    (tmp_path / "ladder.json").write_text("{}")
    with pytest.raises(StageInputError, match="well-formed"):
        read_ladder(tmp_path / "ladder.json")
    with pytest.raises(StageInputError, match="readable"):
        read_ladder(tmp_path / "none.json")


def test_metrics_are_fractions_and_what_has_no_evidence_is_left_out() -> None:
    metrics = some_ladder().as_mlflow()
    assert metrics["ends_correct/wrong/true"] == 0.75
    assert metrics["content/select/wrong_hidden"] == 1.0
    assert metrics["gain/gate"] == pytest.approx(2 / 3)
    empty = some_ladder(LadderRows(PLANS[4:], (), ladder_rows().fixes[4:6])).as_mlflow()
    assert "ends_correct/wrong/none" not in empty


def test_the_tables_fit_eighty_columns_and_leave_nothing_out() -> None:
    many = tuple(replace(plan(number, SIGNS[number % 6]), db_id=f"db{number % 11}") for number in range(3000))
    fixes = tuple(fix(owner, kind, ends=owner.question_id % 100 != 7) for kind in CritiqueKind for owner in many)
    critiques = tuple(
        critique(owner, validator, Verdict.INCORRECT, right=owner.question_id % 2 == 0)
        for validator in Validator
        for owner in many
    )
    stream = io.StringIO()
    console = Console(file=stream, width=80, highlight=False)
    print_tables(console, ladder_tables(some_ladder(LadderRows(many, critiques, fixes))))
    printed = stream.getvalue()
    assert "Left out" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    for expected in ("teacher's", "another's", "wrong: hidden", "perfect gate", "gate and critiques", "condition"):
        assert expected in printed


def test_a_team_without_a_fixer_or_validators_has_the_other_tables() -> None:
    ladder = some_ladder(LadderRows(PLANS, (), ()))
    assert len(ladder_tables(ladder)) == 2
    assert ladder.sentence in ladder_page(ladder)
    with pytest.raises(StageInputError, match="needs a fixer"):
        ladder.rung(PlanGroup.WRONG, CritiqueKind.OWN)
