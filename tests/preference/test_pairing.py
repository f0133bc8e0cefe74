"""Pairs are formed within one prompt, differ, are bounded, and are free of row order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator
from mats_sql.agents.messages import user
from mats_sql.choices import Regime
from mats_sql.config import Policy
from mats_sql.parquet import read_records, write_records
from mats_sql.preference.pair import PreferencePair
from mats_sql.preference.pairing import (
    LabelledAnswer,
    fixer_pairs,
    hold_out,
    pair_answers,
    planner_pairs,
    validator_pairs,
)
from mats_sql.rollout.pool import Pool
from tests.pools import pools, pools_with_prefix, task

regimes = st.sampled_from(list(Regime))
validators = st.sampled_from(list(Validator))


def pairs_of(pool: Pool, regime: Regime, validator: Validator, bound: int = 2) -> list[PreferencePair]:
    tasks = {plan.question_id: task(plan.question_id, Path("db")) for plan in pool.plans}
    return validator_pairs(pool, tasks, validator=validator, regime=regime, policy=Policy(), max_pairs_per_prompt=bound)


def answer(text: str, chosen: bool, source: str, group: str = "g") -> LabelledAnswer:
    return LabelledAnswer(group, 1, user(f"prompt {group}"), text, source, chosen)


@given(pools(), regimes, validators)
def test_no_pair_joins_two_prompts_and_chosen_differs_from_rejected(
    pool: Pool, regime: Regime, validator: Validator
) -> None:
    for pair in pairs_of(pool, regime, validator):
        assert pair.chosen_prompt == pair.rejected_prompt
        assert pair.chosen != pair.rejected
        assert pair.chosen_source.rsplit("-", 2)[0] == pair.rejected_source.rsplit("-", 2)[0]


@given(pools_with_prefix(), regimes, validators)
def test_a_prefix_pairs_answers_of_the_prefix_only(
    pool_and_k: tuple[Pool, int], regime: Regime, validator: Validator
) -> None:
    pool, k = pool_and_k
    for pair in pairs_of(pool.prefix(k), regime, validator):
        assert int(pair.chosen_source.rsplit("-", 1)[1]) < k
        assert int(pair.rejected_source.rsplit("-", 1)[1]) < k


@given(pools(), regimes, validators, st.integers(1, 3))
def test_the_number_of_pairs_per_prompt_is_bounded(
    pool: Pool, regime: Regime, validator: Validator, bound: int
) -> None:
    prompts = [pair.chosen_prompt for pair in pairs_of(pool, regime, validator, bound)]
    assert all(prompts.count(prompt) <= bound for prompt in prompts)


@given(pools(), regimes, validators)
def test_pairs_are_free_of_row_order(pool: Pool, regime: Regime, validator: Validator) -> None:
    reverse = Pool(pool.plans[::-1], pool.critiques[::-1], pool.fixes[::-1])
    assert pairs_of(reverse, regime, validator) == pairs_of(pool, regime, validator)


def test_equal_texts_count_once_and_a_text_on_both_sides_is_left_out() -> None:
    answers = [
        answer("good", True, "a"),
        answer("good", True, "b"),
        answer("bad", False, "c"),
        answer("either", True, "d"),
        answer("either", False, "e"),
    ]
    pairs = pair_answers(answers, agent="x", regime="y", max_pairs_per_prompt=9)
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [("good", "bad")]


def test_every_answer_is_used_once_before_any_is_used_twice() -> None:
    answers = [answer(f"good {i}", True, f"a{i}") for i in range(3)] + [
        answer(f"bad {i}", False, f"b{i}") for i in range(3)
    ]
    pairs = pair_answers(answers, agent="x", regime="y", max_pairs_per_prompt=3)
    assert {pair.chosen for pair in pairs} == {"good 0", "good 1", "good 2"}
    assert {pair.rejected for pair in pairs} == {"bad 0", "bad 1", "bad 2"}


weights = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), max_size=8)


def weighed(values: list[float], kinds: str = "") -> list[LabelledAnswer]:
    return [
        LabelledAnswer("g", 1, user("prompt"), f"text {n}", f"{n:02}", worth, kinds[n : n + 1])
        for n, worth in enumerate(values)
    ]


@given(weights, st.integers(1, 60))
def test_of_two_weighed_answers_the_one_worth_more_is_chosen(values: list[float], bound: int) -> None:
    worth = {answer.source: answer.worth for answer in weighed(values)}
    pairs = pair_answers(weighed(values), agent="x", regime="y", max_pairs_per_prompt=bound)
    assert all(worth[pair.chosen_source] > worth[pair.rejected_source] for pair in pairs)
    different = sum(1 for one in values for other in values if one > other)
    assert len(pairs) == len({pair.pair_id for pair in pairs}) == min(bound, different)


def test_the_best_is_paired_with_the_worst_first() -> None:
    [pair] = pair_answers(weighed([0.25, -1.0, 1.0, 0.0]), agent="x", regime="y", max_pairs_per_prompt=1)
    assert (pair.chosen_source, pair.rejected_source) == ("02", "01")


@given(st.lists(st.booleans(), max_size=8), st.integers(1, 9))
def test_weights_of_one_and_nothing_pair_as_labels_do(labels: list[bool], bound: int) -> None:
    answers = weighed([float(label) for label in labels])
    as_labels = [replace(answer, worth=label) for answer, label in zip(answers, labels, strict=True)]
    one, other = (pair_answers(a, agent="x", regime="y", max_pairs_per_prompt=bound) for a in (answers, as_labels))
    assert one == other


def test_the_kinds_of_pairs_take_turns() -> None:
    # three complaints about a wrong SQL, of which one leads to a right fix mostly, and three approvals of it
    answers = weighed([0.75, 0.5, 0.5, 0.0, 0.0, 0.0], kinds="iiiccc")
    pairs = pair_answers(answers, agent="x", regime="y", max_pairs_per_prompt=2)
    kinds = [("ic"[int(pair.chosen_source) > 2], "ic"[int(pair.rejected_source) > 2]) for pair in pairs]
    assert sorted(kinds) == [("i", "c"), ("i", "i")]


@given(pools())
def test_same_fixer_pairs_share_their_feedback_and_joint_ones_share_their_sql(pool: Pool) -> None:
    tasks = {plan.question_id: task(plan.question_id, Path("db")) for plan in pool.plans}
    for pair in fixer_pairs(pool, tasks, joint=False, max_pairs_per_prompt=2):
        assert pair.chosen_prompt == pair.rejected_prompt
    fixes = {fix.fix_id: fix for fix in pool.fixes}
    for pair in fixer_pairs(pool, tasks, joint=True, max_pairs_per_prompt=2):
        chosen, rejected = fixes[pair.chosen_source], fixes[pair.rejected_source]
        assert chosen.review_id == rejected.review_id
        assert chosen.correct
        assert not rejected.correct


@given(pools())
def test_planner_pairs_prefer_a_correct_plan_of_the_same_question(pool: Pool) -> None:
    tasks = {plan.question_id: task(plan.question_id, Path("db")) for plan in pool.plans}
    plans = {plan.plan_id: plan for plan in pool.plans}
    for pair in planner_pairs(pool, tasks, max_pairs_per_prompt=2):
        assert plans[pair.chosen_source].correct
        assert not plans[pair.rejected_source].correct
        assert plans[pair.chosen_source].question_id == plans[pair.rejected_source].question_id


@given(pools(), regimes, validators, st.floats(0, 1))
def test_no_question_is_on_both_sides_of_the_held_out_part(
    pool: Pool, regime: Regime, validator: Validator, share: float
) -> None:
    built = pairs_of(pool, regime, validator)
    train, held_out = hold_out(built, share, lambda question_id: (question_id * 0.37) % 1)
    assert {pair.question_id for pair in train}.isdisjoint(pair.question_id for pair in held_out)
    assert len(train) + len(held_out) == len(built)


def test_a_pairs_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    answers = [answer("gut – ✓", True, "a"), answer("bad\nline", False, "b")]
    pairs = pair_answers(answers, agent="select", regime="indep", max_pairs_per_prompt=1)
    write_records(pairs, PreferencePair, tmp_path / "pairs.parquet")
    assert read_records(PreferencePair, tmp_path / "pairs.parquet") == pairs
