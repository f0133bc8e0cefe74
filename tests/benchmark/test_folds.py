"""Folds of the train questions: every question once, whole databases, independent of any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.benchmark.folds import folds_of
from mats_sql.errors import ConfigError

NAMES = [f"db{number}" for number in range(9)]
DATABASES = st.dictionaries(st.integers(9, 300), st.sampled_from(NAMES)).map(
    lambda found: {**found, **dict(enumerate(NAMES[:3]))}
)


@given(database_of=DATABASES, seed=st.integers(0, 9))
def test_every_question_is_in_one_fold_and_every_database_too(database_of: dict[int, str], seed: int) -> None:
    folds = folds_of(database_of, 2, seed)
    assert sorted(question for fold in folds for question in fold) == sorted(database_of)
    databases = [{database_of[question] for question in fold} for fold in folds]
    assert not databases[0] & databases[1]


@given(database_of=DATABASES, seed=st.integers(0, 9))
def test_folds_do_not_depend_on_the_order_of_questions(database_of: dict[int, str], seed: int) -> None:
    backwards = dict(reversed(list(database_of.items())))
    assert folds_of(database_of, 3, seed) == folds_of(backwards, 3, seed)


@given(database_of=DATABASES)
def test_one_fold_is_everything(database_of: dict[int, str]) -> None:
    assert folds_of(database_of, 1, 0) == [frozenset(database_of)]


def test_folds_are_as_equal_as_the_databases_allow() -> None:
    database_of = {number: f"db{number // 10}" for number in range(60)}
    assert [len(fold) for fold in folds_of(database_of, 3, 0)] == [20, 20, 20]


def test_more_folds_than_databases_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"rollout\.folds"):
        folds_of({1: "a", 2: "a"}, 2, 0)
