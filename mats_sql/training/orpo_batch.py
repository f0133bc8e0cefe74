"""Preference pairs as batches: a shared prefix once, its two continuations as branches over it.

A *block* is what attends only to itself: one sequence, or a pair's shared prefix followed by both continuations. A row
of the batch holds one block, or several when packing. In a block, a token sees the earlier tokens of the prefix and of
its own branch; both branches continue the prefix's positions. Nothing is truncated.
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

    ``attention_mask`` is [rows, 1, length, length], True where a token may look, or None for plain causal attention.
    ``answer_slots`` [N] is 2 x pair for a token of the chosen answer, 2 x pair + 1 for the rejected one, -1 for none;
    ``in_nll`` [N] says whether the token counts in the NLL; ``answer_lengths`` is [2n].
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
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
    branches: tuple[int, ...]
    scored: tuple[_Scored, ...]


@dataclass(frozen=True, slots=True)
class OrpoCollator:
    """Turn pairs into an :class:`OrpoBatch`."""

    nll: Literal["answer", "prompt_and_answer"]
    prefix_sharing: bool
    packing: bool
    pad_id: int

    def __call__(self, pairs: Sequence[EncodedPair]) -> OrpoBatch:
        """Return the batch of ``pairs``, in their order."""
        blocks = [block for index, pair in enumerate(pairs) for block in self._blocks(index, pair)]
        rows = _packed(blocks) if self.packing else [[block] for block in blocks]
        length = max(sum(len(block.ids) for block in row) for row in rows)
        scored = list(_flat_scores(rows, length))
        answers = [len(side.ids) - side.answer_start for pair in pairs for side in (pair.chosen, pair.rejected)]
        return OrpoBatch(
            input_ids=_padded([[token for block in row for token in block.ids] for row in rows], length, self.pad_id),
            position_ids=_padded([[at for block in row for at in block.positions] for row in rows], length, 0),
            attention_mask=_mask(rows, length),
            scored_rows=torch.tensor([item.source for item in scored]),
            scored_tokens=torch.tensor([item.token for item in scored]),
            answer_slots=torch.tensor([item.slot for item in scored]),
            in_nll=torch.tensor([item.in_nll for item in scored]),
            answer_lengths=torch.tensor(answers),
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
        branches = (_PREFIX,) * shared + (_CHOSEN,) * (len(chosen) - shared) + (_REJECTED,) * (len(rejected) - shared)
        scored = self._scored(pair.chosen, 2 * index, in_nll=True)
        offset = len(chosen) - shared
        for item in self._scored(pair.rejected, 2 * index + 1, in_nll=False):
            source = item.source if item.source < shared else item.source + offset
            scored.append(_Scored(source, item.token, item.slot, item.in_nll))
        return [_Block(chosen + rejected[shared:], positions, branches, tuple(scored))]

    def _scored(self, side: Encoded, slot: int, *, in_nll: bool) -> list[_Scored]:
        """Return the scored positions of one sequence; the token at i is predicted at i - 1, the first by nothing."""
        whole = in_nll and self.nll == "prompt_and_answer"
        return [
            _Scored(at - 1, side.ids[at], slot if at >= side.answer_start else _NO_ANSWER, in_nll)
            for at in range(1 if whole else side.answer_start, len(side.ids))
        ]


def _plain_block(side: Encoded, scored: list[_Scored]) -> _Block:
    return _Block(side.ids, tuple(range(len(side.ids))), (_PREFIX,) * len(side.ids), tuple(scored))


def _packed(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Fill rows as long as the longest block, longest blocks first, each into the fullest row that holds it."""
    capacity = max(len(block.ids) for block in blocks)
    rows: list[list[_Block]] = []
    free: list[int] = []
    for block in sorted(blocks, key=lambda block: -len(block.ids)):
        fitting = [row for row in range(len(rows)) if free[row] >= len(block.ids)]
        if fitting:
            row = min(fitting, key=lambda row: free[row])
            rows[row].append(block)
            free[row] -= len(block.ids)
        else:
            rows.append([block])
            free.append(capacity - len(block.ids))
    return rows


def _flat_scores(rows: Sequence[Sequence[_Block]], length: int) -> list[_Scored]:
    flat = []
    for row, blocks in enumerate(rows):
        start = row * length
        for block in blocks:
            flat += [_Scored(start + item.source, item.token, item.slot, item.in_nll) for item in block.scored]
            start += len(block.ids)
    return flat


def _mask(rows: Sequence[Sequence[_Block]], length: int) -> torch.Tensor | None:
    """Return who may look at whom; None when each row is one sequence, padded on the right, where causal is enough."""
    if all(len(row) == 1 and not any(row[0].branches) for row in rows):
        return None
    groups = _padded([[at for at, block in enumerate(row) for _ in block.ids] for row in rows], length, -1)
    branches = _padded([[branch for block in row for branch in block.branches] for row in rows], length, _PREFIX)
    same_group = groups[:, :, None] == groups[:, None, :]
    same_branch = (branches[:, :, None] == branches[:, None, :]) | (branches == _PREFIX)[:, None, :]
    return (same_group & same_branch).tril()[:, None]


def _padded(rows: Sequence[Sequence[int]], length: int, value: int) -> torch.Tensor:
    return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])
