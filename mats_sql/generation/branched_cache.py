"""A key-value cache in which many answers branch off one prompt, and the attention that reads it.

``generate(num_return_sequences=8)`` stores and reads eight copies of a prompt's keys and values. Here a prompt is
stored once per *group* and every row (one answer) holds only its own tokens. A decode step attends twice, to the
group's prompt and to the row's answer, and merges the two softmaxes by their log-sum-exp (as FlashAttention merges
blocks, Dao et al. 2022; "Hydragen", Juravsky et al. 2024, shares prefixes the same way).

Models that do not take a custom attention function read the same cache expanded (``shared=False``): exact too, slower.

Not covered: sliding-window, recurrent and quantised caches.

Shapes: G groups, R rows, H query heads, K key-value heads, P prompt columns, T answer columns, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

if TYPE_CHECKING:
    from torch.nn import Module

SHARED_PROMPT_ATTENTION = "mats_shared_prompt"
_CAPACITY_STEP = 16


class BranchedCache(Cache):  # type: ignore[misc]
    """Keys and values of G prompts and of R answers that branch off them, as ``past_key_values`` for one token a row.

    Each step is :meth:`begin_step`, one forward pass with one token per row, :meth:`end_step`. Prompts are right-padded
    and rows may have different ages, so that rows can leave (:meth:`keep`) and join (:meth:`merge`) at any step.
    """

    def __init__(self, prompts: DynamicCache, prompt_lengths: Tensor, group_of_row: Tensor, *, shared: bool) -> None:
        """Take over a prefilled cache; ``prompt_lengths`` [G] counts real columns, ``group_of_row`` [R] ascends."""
        super().__init__(layers=[])
        self.shared = shared
        self.prompt_lengths = prompt_lengths
        self.group_of_row = group_of_row
        self.ages = torch.zeros_like(group_of_row)
        self._prompt_keys = [_present(layer.keys) for layer in prompts.layers]
        self._prompt_values = [_present(layer.values) for layer in prompts.layers]
        self._answer_keys = [_no_answers(keys, len(group_of_row)) for keys in self._prompt_keys]
        self._answer_values = [_no_answers(values, len(group_of_row)) for values in self._prompt_values]
        self._width = 0
        self._arrange()

    @property
    def positions(self) -> Tensor:
        """The position [R, 1] of the token that each row feeds next."""
        return (self.prompt_lengths[self.group_of_row] + self.ages)[:, None]

    def begin_step(self) -> None:
        """Make room for one more token per row and fix what each row may see."""
        self._width = int(self.ages.max()) + 1
        if self._width > self._answer_keys[0].shape[2]:
            room = (0, 0, 0, max(_CAPACITY_STEP, self._width // 2))
            self._answer_keys = [functional.pad(keys, room) for keys in self._answer_keys]
            self._answer_values = [functional.pad(values, room) for values in self._answer_values]
        columns = torch.arange(self._width, device=self.ages.device)
        self._answer_mask = columns[None, :] <= self.ages[:, None]

    def end_step(self) -> None:
        """Count the token that every row has just fed."""
        self.ages = self.ages + 1

    def step_mask(self) -> Tensor | None:
        """Return what a model with its own attention must be given as mask [R, 1, 1, P + T]; none when shared."""
        if self.shared:
            return None
        return torch.cat([self._prompt_mask[self.group_of_row], self._answer_mask], dim=1)[:, None, None, :]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write one token per row [R, K, 1, D]; return the answers' columns, after the prompts' when not shared."""
        keys, values = self._answer_keys[layer_idx], self._answer_values[layer_idx]
        keys[self._row_index, :, self.ages] = key_states[:, :, 0]
        values[self._row_index, :, self.ages] = value_states[:, :, 0]
        keys, values = keys[:, :, : self._width], values[:, :, : self._width]
        if self.shared:
            return keys, values
        rows = self.group_of_row
        return (
            torch.cat([self._prompt_keys[layer_idx][rows], keys], dim=2),
            torch.cat([self._prompt_values[layer_idx][rows], values], dim=2),
        )

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, layer: int, scale: float) -> Tensor:
        """Return attention outputs [R, H, 1, D] of one query per row over its group's prompt and its own answer."""
        rows, heads, _, size = query.shape
        key_heads = keys.shape[1]
        query = query.view(rows, key_heads, heads // key_heads, size)
        of_prompt, prompt_weight = self._attend_prompts(query, layer, scale)
        scores = (query @ keys.transpose(2, 3)).float().mul_(scale).add_(self._answer_bias())
        of_answer, answer_weight = _weigh(scores, values)
        share = torch.sigmoid(prompt_weight - answer_weight).to(of_answer.dtype)
        return torch.lerp(of_answer, of_prompt, share).view(rows, heads, 1, size)

    def keep(self, rows: Tensor) -> None:
        """Keep only ``rows`` (ascending indices, at least one), and only the prompts that still have one."""
        groups, self.group_of_row = torch.unique(self.group_of_row[rows], return_inverse=True)
        self.ages = self.ages[rows]
        width = int(self.ages.max())
        self._answer_keys = [keys[:, :, :width][rows] for keys in self._answer_keys]
        self._answer_values = [values[:, :, :width][rows] for values in self._answer_values]
        if len(groups) < len(self.prompt_lengths):
            self.prompt_lengths = self.prompt_lengths[groups]
            longest = max(1, int(self.prompt_lengths.max()))  # amax needs a column, if only a masked one
            self._prompt_keys = [keys[:, :, :longest][groups] for keys in self._prompt_keys]
            self._prompt_values = [values[:, :, :longest][groups] for values in self._prompt_values]
        self._arrange()

    def merge(self, others: Sequence[BranchedCache]) -> None:
        """Append other caches' groups and rows after this one's, all at once because it copies everything."""
        caches = [self, *others]
        starts = accumulate((len(cache.prompt_lengths) for cache in caches), initial=0)
        self.group_of_row = torch.cat(
            [cache.group_of_row + start for cache, start in zip(caches, starts, strict=False)]
        )
        self.prompt_lengths = torch.cat([cache.prompt_lengths for cache in caches])
        self.ages = torch.cat([cache.ages for cache in caches])
        self._prompt_keys = _stack([cache._prompt_keys for cache in caches])
        self._prompt_values = _stack([cache._prompt_values for cache in caches])
        self._answer_keys = _stack([cache._answer_keys for cache in caches])
        self._answer_values = _stack([cache._answer_values for cache in caches])
        self._arrange()

    def _arrange(self) -> None:
        """Give each row its place in the [G, most rows of a group] table in which prompts are attended to."""
        device = self.group_of_row.device
        counts = torch.bincount(self.group_of_row, minlength=len(self.prompt_lengths))
        starts = counts.cumsum(0) - counts
        self._row_index = torch.arange(len(self.group_of_row), device=device)
        self._most = int(counts.max()) if len(counts) else 0
        place = self.group_of_row * self._most + self._row_index - starts[self.group_of_row]
        self._place = None if len(place) == len(counts) * self._most else place
        columns = torch.arange(self._prompt_keys[0].shape[2], device=device)
        self._prompt_mask = columns[None, :] < self.prompt_lengths[:, None]
        self._prompt_bias = _bias(self._prompt_mask)[:, None, None, :]

    def _answer_bias(self) -> Tensor:
        return _bias(self._answer_mask)[:, None, None, :]

    def _attend_prompts(self, query: Tensor, layer: int, scale: float) -> tuple[Tensor, Tensor]:
        keys, values = self._prompt_keys[layer], self._prompt_values[layer]
        groups, most = len(self.prompt_lengths), self._most
        _, key_heads, repeats, size = query.shape
        table = query if self._place is None else _scatter(query, self._place, groups * most)
        table = table.view(groups, most, key_heads, repeats, size).transpose(1, 2)
        table = table.reshape(groups, key_heads, most * repeats, size)
        scores = (table @ keys.transpose(2, 3)).float().mul_(scale).add_(self._prompt_bias)
        outputs, weights = _weigh(scores, values)
        return self._to_rows(outputs, repeats), self._to_rows(weights, repeats)

    def _to_rows(self, table: Tensor, repeats: int) -> Tensor:
        groups, key_heads, _, size = table.shape
        rows = table.view(groups, key_heads, self._most, repeats, size).transpose(1, 2)
        rows = rows.reshape(groups * self._most, key_heads, repeats, size)
        return rows if self._place is None else rows[self._place]


def shared_prompt_attention(
    module: Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    branches: BranchedCache | None = None,
    **kwargs: object,
) -> tuple[Tensor, Tensor | None]:
    """Attend through ``branches`` when a decode step passes them, else as transformers' SDPA does."""
    if branches is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)  # type: ignore[no-any-return]
    scale = kwargs.get("scaling")
    scale = float(scale) if isinstance(scale, (int, float)) else query.shape[-1] ** -0.5
    layer = module.layer_idx
    assert isinstance(layer, int)
    return branches.attend(query, key, value, layer, scale).transpose(1, 2), None


def register_shared_prompt_attention() -> str:
    """Make the attention known to transformers and return the name to select it by."""
    AttentionInterface.register(SHARED_PROMPT_ATTENTION, shared_prompt_attention)
    return SHARED_PROMPT_ATTENTION


def _weigh(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return softmax(scores) @ values and log-sum-exp(scores) [..., 1]; overwrites ``scores``."""
    highest = scores.amax(dim=-1, keepdim=True)
    weights = scores.sub_(highest).exp_()
    total = weights.sum(dim=-1, keepdim=True)
    return (weights.to(values.dtype) @ values).div_(total), total.log_().add_(highest)


def _bias(mask: Tensor) -> Tensor:
    # Finite, so that a prompt of no columns weighs exp(min) = 0 instead of making a NaN.
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, torch.finfo(torch.float32).min / 2)


def _scatter(rows: Tensor, place: Tensor, size: int) -> Tensor:
    return rows.new_zeros(size, *rows.shape[1:]).index_copy_(0, place, rows)


def _stack(caches: list[list[Tensor]]) -> list[Tensor]:
    """Concatenate caches of layers [N, K, columns, D] along N, padded to the widest."""
    width = max(layers[0].shape[2] for layers in caches)
    return [torch.cat([_widen(states, width) for states in layer]) for layer in zip(*caches, strict=True)]


def _widen(states: Tensor, width: int) -> Tensor:
    missing = width - states.shape[2]
    return functional.pad(states, (0, 0, 0, missing)) if missing else states


def _no_answers(states: Tensor, rows: int) -> Tensor:
    return states.new_zeros(rows, states.shape[1], 0, states.shape[3])


def _present(states: Tensor | None) -> Tensor:
    assert states is not None, "the prompt pass fills every layer"
    return states
