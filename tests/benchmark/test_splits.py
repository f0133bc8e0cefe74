from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.splits import split_questions
from mats_sql.errors import BenchmarkError

strata = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["simple", "moderate"])), max_size=60)


def questions_of(keys) -> list[Question]:
    return [Question(number, db_id, "?", "", difficulty) for number, (db_id, difficulty) in enumerate(keys)]


@given(keys=strata, data=st.data(), seed=st.integers(0, 5))
def test_the_parts_are_exact_disjoint_complete_and_proportional(keys, data, seed):
    questions = questions_of(keys)
    size = data.draw(st.integers(0, len(questions)))
    splits = split_questions(questions, validation=size, seed=seed)
    assert len(splits.validation) == size
    assert sorted(splits.validation + splits.rest) == list(range(len(questions)))
    chosen = Counter(keys[i] for i in splits.validation)
    for key, count in Counter(keys).items():
        assert abs(chosen[key] - size * count / len(keys)) < 1


@given(keys=strata, data=st.data())
def test_the_order_of_questions_changes_nothing(keys, data):
    questions = questions_of(keys)
    shuffled = data.draw(st.permutations(questions))
    size = len(questions) // 2
    assert split_questions(questions, validation=size, seed=3) == split_questions(shuffled, validation=size, seed=3)


def test_another_seed_chooses_other_questions():
    questions = questions_of([("a", "simple")] * 40)
    assert split_questions(questions, validation=9, seed=1) != split_questions(questions, validation=9, seed=2)


def test_the_choice_is_the_same_on_every_machine():
    questions = questions_of([("a", "simple")] * 6 + [("b", "moderate")] * 4)
    assert split_questions(questions, validation=5, seed=0).validation == (2, 3, 5, 6, 8)


def test_more_than_there_is_cannot_be_asked_for():
    with pytest.raises(BenchmarkError, match=r"5 of 3 were asked for; lower benchmark\.validation"):
        split_questions(questions_of([("a", "simple")] * 3), validation=5, seed=0)


def test_bird_dev_keeps_every_database_in_both_parts(shared_data):
    questions = read_bird(shared_data / "bird", "dev").questions
    splits = split_questions(questions, validation=300, seed=0)
    databases = {question.question_id: question.db_id for question in questions}
    assert len({databases[i] for i in splits.validation}) == len({databases[i] for i in splits.rest}) == 11
