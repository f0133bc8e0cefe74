from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from mats_sql.agents import Validator
from mats_sql.choices import Gate
from mats_sql.config import Policy
from mats_sql.evaluation.diagnosis.headroom import headrooms
from mats_sql.evaluation.diagnosis.page import headroom_table
from mats_sql.evaluation.diagnosis.pool import diagnose_pool
from mats_sql.rollout import Pool
from tests.evaluation.synthetic_pool import PoolShape, synthetic_pool
from tests.pools import pools

POLICY = Policy(gate=Gate.ON_COMPLAINT)


def of(found, *, plan_correct, validator=None):
    return next(item for item in found if (item.plan_correct, item.validator) == (plan_correct, validator))


@given(pools())
@settings(max_examples=40, deadline=None)
def test_more_critiques_never_reach_less_and_either_validator_reaches_what_one_does(pool):
    found = headrooms(pool, POLICY)
    for item in found:
        counts = [item.ends[k].count for k in sorted(item.ends)]
        assert counts == sorted(counts)
        either = of(found, plan_correct=item.plan_correct)
        assert all(either.ends[k].count >= item.ends[k].count for k in item.ends)


def test_the_greedy_critiques_reach_what_the_greedy_flow_rescues_and_keeps():
    pool = synthetic_pool(3, PoolShape(listening=0.7))
    flow = diagnose_pool(pool, policy=POLICY, max_pairs_per_prompt=2).gated
    for validator in (*Validator, None):
        wrong = of(headrooms(pool, POLICY), plan_correct=False, validator=validator).ends[1]
        right = of(headrooms(pool, POLICY), plan_correct=True, validator=validator).ends[1]
        assert wrong.count == flow.rescues.count > 0
        assert right.total - right.count == flow.harms.count
        assert wrong.total + right.total == len(pool.reviews())


def test_a_deaf_fixer_that_is_always_asked_leaves_no_headroom_and_a_listening_one_does():
    always = Policy(gate=Gate.ALWAYS)
    deaf = of(headrooms(synthetic_pool(1, PoolShape(listening=0.0)), always), plan_correct=False).ends
    heard = of(headrooms(synthetic_pool(1, PoolShape(listening=0.7)), always), plan_correct=False).ends
    assert deaf[1] == deaf[4]
    assert heard[4].count > heard[1].count


def test_words_count_the_sql_of_which_one_critique_says_what_the_teacher_says():
    pool = synthetic_pool(1, PoolShape(listening=0.7))
    second = tuple(
        replace(row, right_content=row.sample_index == 1 and row.validator is Validator.SELECT)
        for row in pool.critiques
    )
    found = headrooms(Pool(pool.plans, second, pool.fixes), POLICY)
    select = of(found, plan_correct=False, validator=Validator.SELECT)
    assert (select.words[1].count, select.words[2].count) == (0, select.words[2].total)
    assert of(found, plan_correct=False, validator=Validator.CONDITION).words[4].count == 0
    assert of(found, plan_correct=False).words == {}


def test_the_table_has_a_row_for_wrong_and_right_sql_by_each_validator_and_either():
    pool = synthetic_pool(1, PoolShape(listening=0.7))
    table = headroom_table(diagnose_pool(pool, policy=POLICY, max_pairs_per_prompt=2))
    assert [row[:2] for row in table.rows] == [
        (sql, critic) for sql in ("wrong", "right") for critic in ("select", "condition", "either")
    ]
    assert table.columns[3:7] == ("best of 1", "best of 2", "best of 3", "best of 4")
    assert "best of 4" in table.to_markdown()
