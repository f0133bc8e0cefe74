"""Preference pairs as batches: a shared prefix once, its two continuations as branches over it.

A *block* is what attends only to itself: one sequence, or a pair's shared prefix followed by both continuations. In a
block, a token sees the earlier tokens of the prefix and of its own branch; both branches continue the prefix's
positions. A row of the batch holds one block, its branches beginning at the same column in all rows, so that only they
need a mask; or, when packing, several blocks one behind the other. Nothing is truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, TypedDict

import torch

from mats_sql.training.encoding import Encoded

_PREFIX, _CHOSEN, _REJECTED = 0, 1, 2
_NO_ANSWER = -1


class OrpoBatch(TypedDict):
    """One micro-batch of n pairs as [rows, length] inputs and N scored positions.

    ``attention_mask`` is [rows, 1, queries, length], True where one of the last ``queries`` columns may look; the
    columns before them are plain causal. It and ``position_ids`` are None when every row is one sequence.
    ``answer_slots`` [N] is 2 x pair for a token of the chosen answer, 2 x pair + 1 for the rejected one, -1 for none;
    ``in_nll`` [N] says whether the token counts in the NLL; ``answer_lengths`` is [2n].
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor | None
    attention_mask: torch.Tensor | None
    scored_rows: torch.Tensor
    scored_tokens: torch.Tensor
    answer_slots: torch.Tensor
    in_nll: torch.Tensor
    answer_lengths: torch.Tensor


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A pair's two whole sequences."""

    chosen: Encoded
    rejected: Encoded

    @property
    def tokens(self) -> int:
        """Return the tokens that training computes when the common prefix is shared."""
        return len(self.chosen.ids) + len(self.rejected.ids) - self.shared

    @property
    def shared(self) -> int:
        """Return the length of the common prefix, which ends with the shorter prompt at the latest.

        Pairs with two prompts share what their prompts have in common: usually the schema.
        """
        limit = min(self.chosen.answer_start, self.rejected.answer_start)
        both = zip(self.chosen.ids[:limit], self.rejected.ids[:limit], strict=True)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))


@dataclass(frozen=True, slots=True)
class _Scored:
    """One position that is scored: which token of the block predicts which token, and what it counts for."""

    source: int
    token: int
    slot: int
    in_nll: bool


@dataclass(frozen=True, slots=True)
class _Block:
    ids: tuple[int, ...]
    positions: tuple[int, ...]
    prefix: int
    chosen: int
    scored: tuple[_Scored, ...]

    @property
    def branches(self) -> list[int]:
        """Return of which branch each token is."""
        rejected = len(self.ids) - self.prefix - self.chosen
        return [_PREFIX] * self.prefix + [_CHOSEN] * self.chosen + [_REJECTED] * rejected


@dataclass(frozen=True, slots=True)
class _Placed:
    """A block in the batch: its row, its number in the row, and the column of each of its tokens."""

    block: _Block
    row: int
    group: int
    columns: list[int]


@dataclass(frozen=True, slots=True)
class OrpoCollator:
    """Turn pairs into an :class:`OrpoBatch`."""

    nll: Literal["answer", "prompt_and_answer"]
    prefix_sharing: bool
    packing: bool
    pad_id: int

    def __call__(self, pairs: Sequence[EncodedPair]) -> OrpoBatch:
        """Return the batch of ``pairs``, in their order; blanks, which have no answers, come last and count nowhere."""
        blocks = [block for index, pair in enumerate(pairs) for block in self._blocks(index, pair)]
        placed, causal = _packed(blocks) if self.packing else _aligned(blocks)
        shape = (1 + max(item.row for item in placed), 1 + max(item.columns[-1] for item in placed))
        scored = [score for item in placed for score in _moved(item, shape[1])]
        sides = [side for pair in pairs for side in (pair.chosen, pair.rejected)]
        answers = [len(side.ids) - side.answer_start for side in sides if len(side.ids) > side.answer_start]
        one_sequence_each = causal == shape[1]
        return OrpoBatch(
            input_ids=_spread(placed, [item.block.ids for item in placed], shape, self.pad_id),
            position_ids=None
            if one_sequence_each
            else _spread(placed, [item.block.positions for item in placed], shape, 0),
            attention_mask=None if one_sequence_each else _mask(placed, shape, causal),
            scored_rows=torch.tensor([item.source for item in scored], dtype=torch.long),
            scored_tokens=torch.tensor([item.token for item in scored], dtype=torch.long),
            answer_slots=torch.tensor([item.slot for item in scored], dtype=torch.long),
            in_nll=torch.tensor([item.in_nll for item in scored], dtype=torch.bool),
            answer_lengths=torch.tensor(answers, dtype=torch.long),
        )

    def _blocks(self, index: int, pair: EncodedPair) -> list[_Block]:
        shared = pair.shared if self.prefix_sharing else 0
        if shared == 0:
            return [
                _plain_block(pair.chosen, self._scored(pair.chosen, 2 * index, in_nll=True)),
                _plain_block(pair.rejected, self._scored(pair.rejected, 2 * index + 1, in_nll=False)),
            ]
        chosen, rejected = pair.chosen.ids, pair.rejected.ids
        positions = (*range(len(chosen)), *range(shared, len(rejected)))
        scored = self._scored(pair.chosen, 2 * index, in_nll=True)
        offset = len(chosen) - shared
        for item in self._scored(pair.rejected, 2 * index + 1, in_nll=False):
            source = item.source if item.source < shared else item.source + offset
            scored.append(_Scored(source, item.token, item.slot, item.in_nll))
        return [_Block(chosen + rejected[shared:], positions, shared, offset, tuple(scored))]

    def _scored(self, side: Encoded, slot: int, *, in_nll: bool) -> list[_Scored]:
        """Return the scored positions of one sequence; the token at i is predicted at i - 1, the first by nothing."""
        whole = in_nll and self.nll == "prompt_and_answer"
        return [
            _Scored(at - 1, side.ids[at], slot if at >= side.answer_start else _NO_ANSWER, in_nll)
            for at in range(1 if whole else side.answer_start, len(side.ids))
        ]


def _plain_block(side: Encoded, scored: list[_Scored]) -> _Block:
    return _Block(side.ids, tuple(range(len(side.ids))), len(side.ids), 0, tuple(scored))


def _aligned(blocks: Sequence[_Block]) -> tuple[list[_Placed], int]:
    """Return one block per row, all branches beginning at the returned column."""
    start = max(block.prefix for block in blocks)
    return [
        _Placed(block, row, 0, [*range(block.prefix), *range(start, start + len(block.ids) - block.prefix)])
        for row, block in enumerate(blocks)
    ], start


def _packed(blocks: Sequence[_Block]) -> tuple[list[_Placed], int]:
    """Fill rows as long as the longest block, longest blocks first, each into the fullest row that holds it."""
    capacity = max(len(block.ids) for block in blocks)
    used: list[int] = []
    groups: list[int] = []
    placed = []
    for block in sorted(blocks, key=lambda block: -len(block.ids)):
        fitting = [row for row, length in enumerate(used) if length + len(block.ids) <= capacity]
        row = max(fitting, key=lambda row: used[row], default=len(used))
        if row == len(used):
            used.append(0)
            groups.append(0)
        placed.append(_Placed(block, row, groups[row], list(range(used[row], used[row] + len(block.ids)))))
        used[row] += len(block.ids)
        groups[row] += 1
    return placed, 0


def _moved(placed: _Placed, length: int) -> list[_Scored]:
    """Return the block's scored positions as flat indices into the batch."""
    start = placed.row * length
    return [
        _Scored(start + placed.columns[item.source], item.token, item.slot, item.in_nll) for item in placed.block.scored
    ]


def _mask(placed: Sequence[_Placed], shape: tuple[int, int], causal: int) -> torch.Tensor:
    """Return where the columns from ``causal`` on may look; padding looks at padding, so that no row is empty."""
    groups = _spread(placed, [[item.group] * len(item.columns) for item in placed], shape, -1)
    branches = _spread(placed, [item.block.branches for item in placed], shape, _PREFIX)
    columns = torch.arange(shape[1])
    asking = columns[causal:]
    same_group = groups[:, asking, None] == groups[:, None, :]
    same_branch = (branches[:, asking, None] == branches[:, None, :]) | (branches == _PREFIX)[:, None, :]
    return (same_group & same_branch & (asking[:, None] >= columns))[:, None]


def _spread(
    placed: Sequence[_Placed], values: Sequence[Sequence[int]], shape: tuple[int, int], padding: int
) -> torch.Tensor:
    """Return [rows, length] with each block's values at its columns."""
    spread = torch.full(shape, padding)
    for item, row_values in zip(placed, values, strict=True):
        spread[item.row, item.columns] = torch.tensor(row_values)
    return spread
