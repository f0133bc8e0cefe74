"""Balancing drops pairs and does nothing else: a part of what is there, free of order, with the wanted verdicts."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator
from mats_sql.agents.messages import user
from mats_sql.preference.balance import VerdictMix, balance_verdicts, match_mix, reachable, verdict_mix
from mats_sql.preference.pair import PreferencePair

counts = st.integers(0, 40)
mixes = st.builds(VerdictMix, counts, counts)


def pairs_of(mix: VerdictMix, validator: Validator = Validator.SELECT) -> list[PreferencePair]:
    """Return pairs of that mix, complaints and approvals in turn."""
    verdicts = ["incorrect"] * mix.incorrect + ["correct"] * mix.correct
    random.Random(0).shuffle(verdicts)
    return [_pair(number, verdict, validator) for number, verdict in enumerate(verdicts)]


def _pair(number: int, verdict: str, validator: Validator) -> PreferencePair:
    prompt, other = user(f"prompt {number}"), "correct" if verdict == "incorrect" else "incorrect"
    texts = [f"Why {number}\nConclude: {said}." for said in (verdict, other)]
    sources = f"{number}-0", f"{number}-1"
    return PreferencePair(">".join(sources), validator.value, "indep", number, prompt, prompt, *texts, *sources)  # type: ignore[arg-type]


@settings(deadline=None)
@given(mixes, mixes, st.integers(0, 5))
def test_what_is_kept_is_a_part_of_what_is_there_in_its_order_and_nothing_twice(
    there: VerdictMix, wanted: VerdictMix, seed: int
) -> None:
    pairs = pairs_of(there)
    for kept in (match_mix(pairs, wanted, seed=seed), balance_verdicts(pairs, seed=seed)):
        places = [pairs.index(pair) for pair in kept]
        assert places == sorted(set(places))


@settings(deadline=None)
@given(mixes, mixes, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_decides_nothing(there: VerdictMix, wanted: VerdictMix, chance: random.Random) -> None:
    pairs = pairs_of(there)
    mixed = chance.sample(pairs, len(pairs))
    same = (match_mix(mixed, wanted, seed=0), match_mix(pairs, wanted, seed=0))
    assert set(same[0]) == set(same[1])
    assert set(balance_verdicts(mixed, seed=0)) == set(balance_verdicts(pairs, seed=0))


@settings(deadline=None)
@given(mixes.filter(lambda mix: mix.incorrect and mix.correct))
def test_balanced_pairs_choose_as_many_complaints_as_approvals_and_as_many_as_there_can_be(there: VerdictMix) -> None:
    fewer = min(there.incorrect, there.correct)
    assert verdict_mix(balance_verdicts(pairs_of(there), seed=0)) == VerdictMix(fewer, fewer)


@settings(deadline=None)
@given(mixes, mixes)
def test_a_match_is_exact_where_there_are_enough_of_both(there: VerdictMix, wanted: VerdictMix) -> None:
    enough = there.incorrect >= wanted.incorrect and there.correct >= wanted.correct
    kept = verdict_mix(match_mix(pairs_of(there), wanted, seed=0))
    assert (kept == wanted) == enough or not enough


@settings(deadline=None)
@given(mixes, mixes)
def test_a_match_never_exceeds_what_there_is_or_what_is_wanted(there: VerdictMix, wanted: VerdictMix) -> None:
    kept = reachable(there, wanted)
    assert kept.incorrect <= there.incorrect
    assert kept.correct <= there.correct
    assert kept.total <= wanted.total
    assert verdict_mix(match_mix(pairs_of(there), wanted, seed=0)) == kept


@settings(deadline=None)
@given(mixes, mixes)
def test_where_there_is_too_little_the_number_gives_way_and_the_mix_stays(
    there: VerdictMix, wanted: VerdictMix
) -> None:
    kept = reachable(there, wanted)
    if kept.total and all(have or not want for have, want in zip(_both(there), _both(wanted), strict=True)):
        # of each verdict at most half a pair off from the wanted proportions
        part = min(have / want for have, want in zip(_both(there), _both(wanted), strict=True) if want)
        assert abs(kept.incorrect - min(1.0, part) * wanted.incorrect) <= 0.5
        assert abs(kept.correct - min(1.0, part) * wanted.correct) <= 0.5


@settings(deadline=None)
@given(counts, mixes.filter(lambda mix: mix.correct > 0))
def test_where_none_of_a_wanted_verdict_is_there_the_mix_gives_way_and_the_number_stays(
    complaints: int, wanted: VerdictMix
) -> None:
    assert reachable(VerdictMix(complaints, 0), wanted) == VerdictMix(min(complaints, wanted.total), 0)


@settings(deadline=None)
@given(mixes, st.integers(0, 40), st.integers(0, 40))
def test_a_smaller_match_keeps_a_part_of_a_larger_one(there: VerdictMix, one: int, other: int) -> None:
    pairs, (small, large) = pairs_of(VerdictMix(there.incorrect + 40, there.correct + 40)), sorted((one, other))
    kept = [set(match_mix(pairs, VerdictMix(number, number), seed=3)) for number in (small, large)]
    assert kept[0] <= kept[1]


def test_the_seed_and_the_pair_decide_which_pairs_go() -> None:
    pairs = pairs_of(VerdictMix(40, 20))
    first, second = (balance_verdicts(pairs, seed=seed) for seed in (0, 1))
    assert first != second
    assert first != [pair for pair in pairs if "incorrect." not in pair.chosen] + pairs[:20], "not the first ones"


def _both(mix: VerdictMix) -> tuple[int, int]:
    return mix.incorrect, mix.correct
