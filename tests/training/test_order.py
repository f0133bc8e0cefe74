from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mats_sql.config import SftSettings
from mats_sql.training.order import STEPS_PER_WINDOW, visiting_order
from mats_sql.training.steps import planned_steps

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 3), st.integers(1, 9), st.integers(0, 5))
def test_whole_epochs_visit_every_item_equally_often(lengths: list[int], epochs: int, step: int, seed: int) -> None:
    order = visiting_order(lengths, epochs=epochs, step_size=step, seed=seed)
    assert Counter(order) == dict.fromkeys(range(len(lengths)), epochs)


@given(LENGTHS, st.floats(0.01, 2.5), st.integers(1, 9))
def test_a_fractional_epoch_visits_its_share(lengths: list[int], epochs: float, step: int) -> None:
    order = visiting_order(lengths, epochs=epochs, step_size=step, seed=0)
    assert len(order) == max(1, round(epochs * len(lengths)))
    assert max(Counter(order).values()) <= int(epochs) + 1


@given(st.integers(1, 200), st.floats(0.01, 2.5), st.integers(1, 9))
def test_the_planned_steps_are_those_of_the_order(items: int, epochs: float, step: int) -> None:
    order = visiting_order([1] * items, epochs=epochs, step_size=step, seed=0)
    assert planned_steps(items, SftSettings(epochs=epochs, batch_size=step)) == -(-len(order) // step)


def test_the_order_is_a_function_of_the_seed() -> None:
    lengths = list(range(100))
    first, again, other = (visiting_order(lengths, epochs=1, step_size=8, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_items_of_one_step_have_similar_lengths() -> None:
    lengths = list(range(8 * STEPS_PER_WINDOW))
    order = visiting_order(lengths, epochs=1, step_size=8, seed=0)
    steps = [[lengths[index] for index in order[at : at + 8]] for at in range(0, len(order), 8)]
    assert all(max(step) - min(step) == 7 for step in steps)
    assert sorted(steps) != steps
