"""The inference flow on the packaged base model, and its rules on candidates made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.agents.critique import Critique, Validator, Verdict
from mats_sql.choices import Gate, PoolRule, SelectorRule
from mats_sql.config import Policy
from mats_sql.generation.engine import Engine
from mats_sql.rollout.sample import Source
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.executor import SqlExecutor
from mats_sql.team.flow import Agents, Team, TeamAnswer
from mats_sql.team.policy import Candidate, gate_opens, join_fix, regate, select, wants_fix, with_groups
from tests.lab_source import GENERATION


def team(engine: Engine, executor: SqlExecutor, **policy: object) -> Team:
    agents = Agents(engine, dict.fromkeys(Validator, engine), engine, engine)
    return Team(agents, Policy.model_validate({"k": 3, **policy}), GENERATION, executor, seed=5)


def rows(answers: list[TeamAnswer]) -> list[tuple[object, ...]]:
    """Return what an answer consists of, without how long it took."""
    return [
        (row.sample_index, row.origin, row.sql, row.execution.digest, row.critiques, row.eligible, row.selected)
        for answer in answers
        for row in answer.candidates
    ]


def test_exactly_one_candidate_of_the_pool_is_selected(engine: Engine, executor: SqlExecutor, source: Source) -> None:
    for answer in team(engine, executor).answer_many(list(source.tasks.values())):
        assert sum(row.selected for row in answer.candidates) == 1
        assert answer.selected.eligible


def test_answers_do_not_depend_on_what_else_is_asked(engine: Engine, executor: SqlExecutor, source: Source) -> None:
    tasks = list(source.tasks.values())
    whole = team(engine, executor).answer_many(tasks)
    alone = [team(engine, executor).answer(task) for task in (tasks[2], tasks[0])]
    assert rows(alone[::-1]) == rows([whole[0], whole[2]])


def test_a_larger_k_extends_a_smaller_one(engine: Engine, executor: SqlExecutor, source: Source) -> None:
    tasks = list(source.tasks.values())[:4]
    large, small = (team(engine, executor, k=k).answer_many(tasks) for k in (3, 2))
    for more, less in zip(large, small, strict=True):
        kept = [(row.sample_index, row.origin, row.sql) for row in more.candidates if row.sample_index < 2]
        assert kept == [(row.sample_index, row.origin, row.sql) for row in less.candidates]


def test_replace_takes_the_plan_out_of_the_pool_and_keep_both_keeps_it(
    engine: Engine, executor: SqlExecutor, source: Source
) -> None:
    tasks = list(source.tasks.values())
    for rule in PoolRule:
        answers = team(engine, executor, gate="always", pool=rule.value).answer_many(tasks)
        fixed = {(i, row.sample_index) for i, a in enumerate(answers) for row in a.candidates if row.origin == "fix"}
        assert fixed
        for i, answer in enumerate(answers):
            plans = [row for row in answer.candidates if row.origin == "plan"]
            assert all(
                row.eligible is ((i, row.sample_index) not in fixed or rule is PoolRule.KEEP_BOTH) for row in plans
            )


@pytest.mark.parametrize("gate", list(Gate))
@pytest.mark.parametrize("pool", list(PoolRule))
def test_answers_with_every_plan_fixed_hold_those_of_any_gate(
    engine: Engine, executor: SqlExecutor, source: Source, gate: Gate, pool: PoolRule
) -> None:
    own = team(engine, executor, gate=gate.value, pool=pool.value)
    tasks = list(source.tasks.values())[:4]
    every = own.fixing_every_plan()
    plans = every.plans(tasks)
    everything = every.conclude(tasks, plans, every.fixes(tasks, plans))
    regated = [regate(own.policy, answer.candidates, lambda plan: wants_fix(own.policy, plan)) for answer in everything]
    assert [list(map(timeless, group)) for group in regated] == [
        list(map(timeless, answer.candidates)) for answer in own.answer_many(tasks)
    ]


def test_a_shut_gate_leaves_the_plans_and_an_open_one_takes_every_fix(
    engine: Engine, executor: SqlExecutor, source: Source
) -> None:
    own, tasks = team(engine, executor), list(source.tasks.values())
    for answer in own.fixing_every_plan().answer_many(tasks):
        shut, opened = (regate(own.policy, answer.candidates, lambda _, opens=opens: opens) for opens in (False, True))
        assert {row.origin for row in shut} == {"plan"}
        assert [row for row in opened if row.origin == "fix"] != []
        assert {row.origin for row in opened if row.eligible and row.sql is not None} <= {"fix", "plan"}


def timeless(row: Candidate) -> Candidate:
    """Return a candidate without how long its SQL took, its score to what another batch leaves of it."""
    score = None if row.score is None else round(row.score, 4)
    return replace(row, score=score, execution=replace(row.execution, elapsed_s=0.0))


def test_a_planner_alone_is_a_team(engine: Engine, executor: SqlExecutor, source: Source) -> None:
    alone = Team(Agents(engine, {}, None, None), Policy(k=2, selector=SelectorRule.MAJORITY), GENERATION, executor)
    answers = alone.answer_many(list(source.tasks.values())[:4])
    assert {row.origin for answer in answers for row in answer.candidates} == {"plan"}


@pytest.mark.parametrize(
    ("gate", "ran", "verdict", "opens"),
    [
        (Gate.ALWAYS, True, Verdict.CORRECT, True),
        (Gate.ON_ERROR, True, Verdict.INCORRECT, False),
        (Gate.ON_ERROR, False, Verdict.CORRECT, True),
        (Gate.ON_COMPLAINT, True, Verdict.INCORRECT, True),
        (Gate.ON_COMPLAINT, True, Verdict.CORRECT, False),
        (Gate.ON_COMPLAINT, True, Verdict.MISSING, False),
        (Gate.ON_COMPLAINT, False, Verdict.CORRECT, True),
    ],
)
def test_the_gate_opens_as_the_policy_says(gate: Gate, ran: bool, verdict: Verdict, opens: bool) -> None:
    execution = Execution(Outcome.ROWS if ran else Outcome.ERROR)
    assert gate_opens(gate, execution, [Critique(Validator.SELECT, "", verdict)]) is opens


def candidate(index: int, digest: str, *, score: float | None = None, eligible: bool = True) -> Candidate:
    execution = Execution(Outcome.ROWS if digest else Outcome.ERROR, digest=digest)
    return Candidate(index, "plan", f"SELECT {index}", execution, (), eligible=eligible, score=score)


candidates = st.lists(
    st.tuples(st.sampled_from(["", "a", "b", "c"]), st.floats(0, 1), st.booleans()), min_size=1, max_size=6
).map(
    lambda items: [
        candidate(index, digest, score=score, eligible=eligible or index == 0)
        for index, (digest, score, eligible) in enumerate(items)
    ]
)


@given(candidates, st.sampled_from(list(SelectorRule)))
def test_the_selected_candidate_is_in_the_pool_and_runs_if_any_does(items: list[Candidate], rule: SelectorRule) -> None:
    chosen = [row for row in select(Policy(selector=rule), with_groups(items)) if row.selected]
    assert len(chosen) == 1
    assert chosen[0].eligible
    if rule is not SelectorRule.FIRST and any(row.eligible and row.execution.ran for row in items):
        assert chosen[0].execution.ran


@given(candidates)
def test_majority_picks_the_largest_group_and_the_earliest_of_equals(items: list[Candidate]) -> None:
    grouped = with_groups(items)
    chosen = next(row for row in select(Policy(selector=SelectorRule.MAJORITY), grouped) if row.selected)
    eligible = [row for row in grouped if row.eligible]
    assert chosen.group_size == max(row.group_size for row in eligible)
    ties = [row for row in eligible if (row.execution.ran, row.group_size) == (chosen.execution.ran, chosen.group_size)]
    assert chosen.sample_index == ties[0].sample_index


def test_the_trained_selector_weighs_score_and_agreement() -> None:
    rows = with_groups([candidate(0, "a", score=0.5), candidate(1, "a", score=0.5), candidate(2, "b", score=0.7)])
    by_score = select(Policy(agreement_weight=0.0), rows)
    by_both = select(Policy(agreement_weight=1.0), rows)
    assert [row.sample_index for row in by_score if row.selected] == [2]
    assert [row.sample_index for row in by_both if row.selected] == [0]


def test_a_fix_without_sql_keeps_its_plan_and_shows_that_the_gate_opened() -> None:
    plan, nothing = candidate(0, "a"), Execution(Outcome.ERROR)
    for rule in PoolRule:
        assert join_fix(Policy(pool=rule), plan, None, nothing) == [replace(plan, gate_open=True)]


@pytest.mark.parametrize(("rule", "eligible"), [(PoolRule.REPLACE, [False, True]), (PoolRule.KEEP_BOTH, [True, True])])
def test_a_fix_joins_its_plan_or_takes_its_place(rule: PoolRule, eligible: list[bool]) -> None:
    joined = join_fix(Policy(pool=rule), candidate(0, "a"), "SELECT 9", Execution(Outcome.ROWS, digest="b"))
    assert [row.eligible for row in joined] == eligible
    assert [(row.origin, row.sql, row.execution.digest) for row in joined] == [
        ("plan", "SELECT 0", "a"),
        ("fix", "SELECT 9", "b"),
    ]


def test_a_result_that_did_not_run_belongs_to_no_group() -> None:
    rows = with_groups([candidate(0, ""), replace(candidate(1, "a"), eligible=False), candidate(2, "a")])
    assert [row.group_size for row in rows] == [0, 1, 1]
