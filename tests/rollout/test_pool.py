"""A pool's prefixes, its views and its tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from mats_sql.agents.critique import Validator
from mats_sql.errors import ConfigError, StageInputError
from mats_sql.rollout.pool import Pool, read_pool, write_pool
from tests.evaluation.synthetic_pool import PoolShape, synthetic_pool
from tests.pools import pools, pools_with_prefix

CRITICISED = synthetic_pool(1, PoolShape(questions=3, k=4))  # two plans per question, four critiques of each
PLANS_ALONE = Pool(CRITICISED.plans)


def test_a_pool_was_drawn_with_as_many_critiques_as_it_has_or_plans_without_critiques() -> None:
    assert (CRITICISED.drawn, PLANS_ALONE.drawn, Pool(()).drawn) == (4, 2, 0)


@pytest.mark.parametrize(("pool", "k", "kind"), [(CRITICISED, 5, "critiques per SQL"), (PLANS_ALONE, 3, "plans")])
def test_a_prefix_longer_than_what_was_drawn_is_refused(pool: Pool, k: int, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"K must be at most the {kind}.*it is {k} of {k - 1}") as raised:
        pool.prefix(k)
    assert "\n" not in str(raised.value)


def test_one_fix_per_pair_of_critiques_does_not_bound_k() -> None:
    assert {fix.sample_index for fix in CRITICISED.fixes} == {0}
    assert CRITICISED.prefix(4) == CRITICISED


@given(pools_with_prefix())
def test_a_prefix_holds_exactly_the_first_samples_of_the_plans_it_keeps(pool_and_k: tuple[Pool, int]) -> None:
    pool, k = pool_and_k
    prefix = pool.prefix(k)
    assert prefix.plans == tuple(plan for plan in pool.plans if plan.sample_index < k)
    kept = {plan.review_id for plan in prefix.plans}
    assert {row.critique_id for row in prefix.critiques} == {
        f"{identity}-{validator.value}-{index}"
        for identity in kept - {""}
        for validator in Validator
        for index in range(k)
    }
    assert {fix.fix_id for fix in prefix.fixes} == {
        fix.fix_id for fix in pool.fixes if fix.review_id in kept and max(fix.select_index, fix.condition_index) < k
    }


@given(pools())
def test_the_greedy_critiques_of_a_sql_are_its_first_of_each_validator_in_their_order(pool: Pool) -> None:
    turned = Pool(pool.plans, pool.critiques[::-1], pool.fixes)
    first = {(row.review_id, row.validator): row for row in pool.critiques if row.sample_index == 0}
    for validator in Validator:
        greedy = {identity: row for (identity, own), row in first.items() if own is validator}
        assert turned.greedy_critiques(validator) == greedy
    assert turned.feedbacks() == {
        identity: tuple(first[identity, validator].critique for validator in Validator) for identity in pool.reviews()
    }


@settings(deadline=None, max_examples=25)
@given(drawn=pools())
def test_a_pool_reads_back_as_it_was_written(drawn: Pool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pool")
    write_pool(drawn, folder)
    assert read_pool(folder) == drawn


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    write_pool(CRITICISED, tmp_path)
    (tmp_path / "critiques.parquet").write_bytes(b"torn")
    with pytest.raises(StageInputError, match=r"critiques\.parquet"):
        read_pool(tmp_path)
