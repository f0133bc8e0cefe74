from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.training.encoding import Encoded
from mats_sql.training.orpo_batch import EncodedPair, OrpoBatch, OrpoCollator

IDS = st.lists(st.integers(3, 9), min_size=1, max_size=6)


@st.composite
def encoded_pairs(draw: st.DrawFn) -> EncodedPair:
    prompt = draw(IDS)
    other = draw(st.sampled_from([prompt, [*prompt, 9], [8, *prompt]]))
    return EncodedPair(
        Encoded((*prompt, *draw(IDS), 0), len(prompt)),
        Encoded((*other, *draw(IDS), 0), len(other)),
    )


def collate(pairs: list[EncodedPair], *, sharing: bool = True, packing: bool = False, nll: str = "answer") -> OrpoBatch:
    return OrpoCollator(nll, sharing, packing, pad_id=1)(pairs)


def contexts(batch: OrpoBatch) -> list[tuple[int, int, tuple[tuple[int, int], ...]]]:
    """Return per scored position (slot, token, the (position, id) pairs that its prediction may look at)."""
    rows, length = batch["input_ids"].shape
    mask = torch.ones(rows, 1, length, length, dtype=torch.bool).tril()
    positions = torch.arange(length).expand(rows, length)
    if batch["attention_mask"] is not None:
        mask[:, :, length - batch["attention_mask"].shape[2] :] = batch["attention_mask"]
        positions = batch["position_ids"]
    found = []
    for at, token, slot in zip(batch["scored_rows"], batch["scored_tokens"], batch["answer_slots"], strict=True):
        row, column = divmod(int(at), length)
        seen = mask[row, 0, column].nonzero()[:, 0]
        context = zip(positions[row, seen].tolist(), batch["input_ids"][row, seen].tolist(), strict=True)
        found.append((int(slot), int(token), tuple(sorted(context))))
    return sorted(found)


@given(st.lists(encoded_pairs(), min_size=1, max_size=4), st.sampled_from(["answer", "prompt_and_answer"]))
@settings(deadline=None)
def test_every_layout_predicts_the_same_tokens_from_the_same_contexts(pairs: list[EncodedPair], nll: str) -> None:
    plain = contexts(collate(pairs, sharing=False, nll=nll))
    for sharing in (False, True):
        for packing in (False, True):
            assert contexts(collate(pairs, sharing=sharing, packing=packing, nll=nll)) == plain


@given(encoded_pairs())
@settings(deadline=None)
def test_the_answer_slots_hold_exactly_the_two_answers_with_their_end(pair: EncodedPair) -> None:
    batch = collate([pair])
    for slot, side in enumerate((pair.chosen, pair.rejected)):
        mine = batch["answer_slots"] == slot
        assert batch["scored_tokens"][mine].tolist() == list(side.ids[side.answer_start :])
        assert batch["answer_lengths"][slot] == mine.sum()


@given(encoded_pairs())
@settings(deadline=None)
def test_the_nll_covers_the_chosen_answer_or_the_whole_chosen_sequence(pair: EncodedPair) -> None:
    for nll, start in (("answer", pair.chosen.answer_start), ("prompt_and_answer", 1)):
        batch = collate([pair], nll=nll)
        assert batch["scored_tokens"][batch["in_nll"]].tolist() == list(pair.chosen.ids[start:])


@given(st.lists(encoded_pairs(), min_size=1, max_size=4))
@settings(deadline=None)
def test_no_row_of_the_mask_is_empty_for_a_real_token(pairs: list[EncodedPair]) -> None:
    mask = collate(pairs)["attention_mask"]
    assert mask is None or bool(mask.any(-1).all())


def test_a_shared_prompt_is_computed_once() -> None:
    prompt = (5,) * 8
    pair = EncodedPair(Encoded((*prompt, 3, 0), 8), Encoded((*prompt, 4, 0), 8))
    assert collate([pair])["input_ids"].shape == (1, 12)
    assert pair.tokens == 12


def test_two_prompts_share_what_they_have_in_common() -> None:
    pair = EncodedPair(Encoded((5, 6, 7, 3, 0), 3), Encoded((5, 6, 8, 3, 0), 3))
    assert pair.shared == 2


def test_equal_beginnings_of_the_answers_are_not_shared() -> None:
    pair = EncodedPair(Encoded((5, 3, 3, 0), 1), Encoded((5, 3, 4, 0), 1))
    assert pair.shared == 1


def test_packing_puts_short_pairs_into_the_rows_of_long_ones() -> None:
    long = EncodedPair(Encoded((5,) * 10 + (0,), 9), Encoded((5,) * 10 + (4, 0), 9))
    short = EncodedPair(Encoded((5, 3, 0), 1), Encoded((5, 4, 0), 1))
    assert collate([short, long, short], packing=True)["input_ids"].shape[0] < 3
