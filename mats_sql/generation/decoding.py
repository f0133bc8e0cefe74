"""The decode loop: many answers of many prompts at once, each drawn from a random stream of its own.

Each prompt is computed once, in length-sorted batches; its answers branch off it (:mod:`.branched_cache`). Rows whose
answer has ended leave the batch, and waiting prompts take their place, so that a batch stays large: at the size of the
models used here a step costs its Python far more than its arithmetic.

A row's tokens come from its logits by inverse CDF with one uniform number per step, from a Philox stream keyed by the
row's seed. So a draw depends on nothing but the prompt, the seed and the temperature, but for rounding: between batch
shapes float32 logits differ in their last digits, enough to change one token in some hundred thousand. Where rounding
could change a choice (:func:`_choose` says where that is), the row's logits are computed once more for the row alone,
and that choice counts whatever the batch was. In half precision the rounding is too coarse for this, and equal draws
in different batches are equal in distribution only. Scores are computed a prompt at a time where that costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from mats_sql.generation.branched_cache import BranchedCache

MAX_BRANCHES = 64
_ROUNDING = 16 * torch.finfo(torch.float32).eps
"""How far a logit may be off, as a share of the row's largest: 12 epsilons is the most that was measured."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One answer to draw. ``key`` names it in the output; ``seed`` none means greedy."""

    key: int
    seed: int | None


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt's tokens (at least one) and the answers that branch off it."""

    tokens: tuple[int, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One branch's answer. ``tokens`` ends with the stop token when ``finished``."""

    key: int
    tokens: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How much is computed at once: prompt tokens per forward pass (with padding) and answers per decode step."""

    prompt_tokens: int
    rows: int


@dataclass(slots=True)
class _Rows:
    """The answers in flight: one entry per row of the decode batch."""

    cache: BranchedCache
    keys: Tensor
    last: Tensor
    written: Tensor
    uniforms: Tensor
    greedy: Tensor
    done: Tensor

    def __len__(self) -> int:
        return len(self.keys)

    def merge(self, others: Sequence[_Rows]) -> None:
        if not others:
            return
        self.cache.merge([other.cache for other in others])
        for name in _ROW_TENSORS:
            setattr(self, name, torch.cat([getattr(rows, name) for rows in (self, *others)]))

    def keep(self, index: Tensor) -> None:
        self.cache.keep(index)
        for name in _ROW_TENSORS:
            setattr(self, name, getattr(self, name)[index])


_ROW_TENSORS = ("keys", "last", "written", "uniforms", "greedy", "done")


class Decoder:
    """Draw answers from one loaded model."""

    def __init__(self, model: PreTrainedModel, stop_ids: Collection[int], size: BatchSize, *, shared: bool) -> None:
        """``shared`` says that the model's attention is ``SHARED_PROMPT_ATTENTION``; no stop ids means full length."""
        self._model = model
        self._stop_ids = torch.tensor(sorted(stop_ids), dtype=torch.long, device=model.device)
        self._size = size
        self._shared = shared
        self.settled = 0
        """How many tokens were too close to call in a batch and were chosen with the row computed alone."""

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def decode(self, prompts: Sequence[Prompt], temperature: float, max_new_tokens: int) -> Iterator[Decoded]:
        """Yield one answer per branch, in the order in which they end."""
        waiting = _longest_first(prompts)
        tokens_of = {branch.key: prompt.tokens for prompt in prompts for branch in prompt.branches}
        rows: _Rows | None = None
        while waiting or rows is not None:
            if rows is None or len(rows) <= self._size.rows // 2:
                rows = self._fill(rows, waiting, max_new_tokens)
            ended = self._step(rows, tokens_of, temperature, max_new_tokens)
            yield from _decoded(rows, ended, self._stop_ids)
            rows = _without_ended(rows)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def score(
        self, prompts: Collection[tuple[int, ...]], endings: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[tuple[int, ...], list[float]]]:
        """Yield each prompt's tokens with the log-probability of each ending (at most ``MAX_BRANCHES``) after it.

        On a CPU in float32 each prompt is computed alone: a batch is no faster there, and so its score is the same to
        the last bit, whatever else is asked and whatever a cache already knows.
        """
        branches = tuple(Branch(ending, None) for ending in range(len(endings)))
        waiting = _longest_first([Prompt(tokens, branches) for tokens in prompts])
        longest = max(len(ending) for ending in endings)
        padded = [[*ending, *[0] * (longest - len(ending))] for ending in endings]
        tokens = torch.tensor(padded, device=self._model.device)
        lengths = torch.tensor([len(ending) for ending in endings], device=self._model.device)
        alone = self._model.device.type == "cpu" and self._model.dtype == torch.float32
        while waiting:
            unit = [waiting.popleft()] if alone else _take(waiting, self._size.prompt_tokens, self._size.rows)
            rows = self._start(unit, 1)
            totals = self._force(rows, tokens[rows.keys], lengths[rows.keys]).view(len(unit), len(endings))
            yield from ((prompt.tokens, row) for prompt, row in zip(unit, totals.tolist(), strict=True))

    def _force(self, rows: _Rows, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Feed each row ``lengths`` of its ``tokens`` [R, longest]; return their summed log-probabilities [R]."""
        totals = torch.zeros(len(rows), dtype=torch.float64, device=tokens.device)
        for step in range(tokens.shape[1]):
            logprobs = torch.log_softmax(self._logits(rows).double(), dim=-1)
            rows.last = tokens[:, step]
            totals += logprobs.gather(1, rows.last[:, None])[:, 0].where(step < lengths, 0.0)
        return totals

    def _fill(self, rows: _Rows | None, waiting: deque[Prompt], max_new_tokens: int) -> _Rows:
        parts = [] if rows is None else [rows]
        room = self._size.rows - sum(len(part) for part in parts)
        while waiting and (not parts or len(waiting[0].branches) <= room):
            parts.append(self._start(_take(waiting, self._size.prompt_tokens, room), max_new_tokens))
            room -= len(parts[-1])
        parts[0].merge(parts[1:])
        return parts[0]

    def _start(self, unit: Sequence[Prompt], max_new_tokens: int) -> _Rows:
        """Compute prompts but for their last token, which is the first that each of their rows feeds."""
        device = self._model.device
        lengths = [len(prompt.tokens) - 1 for prompt in unit]
        width = max(1, *lengths)
        padded = [[*prompt.tokens[:-1], *[0] * (width - length)] for prompt, length in zip(unit, lengths, strict=True)]
        prompts = DynamicCache()
        # Padding is on the right, so the causal mask alone keeps it out of sight.
        self._model.base_model(input_ids=torch.tensor(padded, device=device), past_key_values=prompts, use_cache=True)
        branches = [branch for prompt in unit for branch in prompt.branches]
        group = [index for index, prompt in enumerate(unit) for _ in prompt.branches]
        last = [prompt.tokens[-1] for prompt in unit for _ in prompt.branches]
        return _Rows(
            cache=BranchedCache(
                prompts,
                torch.tensor(lengths, device=device),
                torch.tensor(group, device=device),
                shared=self._shared,
            ),
            keys=torch.tensor([branch.key for branch in branches], device=device),
            last=torch.tensor(last, device=device),
            written=torch.zeros(len(branches), max_new_tokens, dtype=torch.long, device=device),
            uniforms=torch.from_numpy(_uniforms(branches, max_new_tokens)).to(device),
            greedy=torch.tensor([branch.seed is None for branch in branches], device=device),
            done=torch.zeros(len(branches), dtype=torch.bool, device=device),
        )

    def _logits(self, rows: _Rows) -> Tensor:
        """Feed every row's last token; return the next token's logits [R, V] in float32 or better."""
        cache = rows.cache
        cache.begin_step()
        outputs = self._model(
            input_ids=rows.last[:, None],
            position_ids=cache.positions,
            attention_mask=cache.step_mask(),
            past_key_values=cache,
            use_cache=True,
            **({"branches": cache} if self._shared else {}),
        )
        cache.end_step()
        logits = outputs.logits[:, -1]
        assert isinstance(logits, Tensor)
        return logits if logits.dtype == torch.float64 else logits.float()

    def _step(
        self, rows: _Rows, tokens_of: Mapping[int, tuple[int, ...]], temperature: float, max_new_tokens: int
    ) -> Tensor:
        """Draw one token per row; return the indices of the rows whose answer ended with it."""
        column = rows.cache.ages.clamp_max(max_new_tokens - 1)[:, None]
        uniforms = rows.uniforms.gather(1, column)
        rows.last, close = _choose(self._logits(rows), uniforms, rows.greedy, temperature)
        if self._model.dtype == torch.float32:
            for row in (close & ~rows.done).nonzero()[:, 0].tolist():
                fed = [*tokens_of[int(rows.keys[row])], *rows.written[row, : int(column[row])].tolist()]
                here = slice(row, row + 1)
                rows.last[here] = _choose(self._logits_alone(fed), uniforms[here], rows.greedy[here], temperature)[0]
                self.settled += 1
        rows.written.scatter_(1, column, rows.last[:, None])
        full = rows.cache.ages >= max_new_tokens
        ended = (torch.isin(rows.last, self._stop_ids) | full) & ~rows.done
        rows.done |= ended
        return ended.nonzero()[:, 0]

    def _logits_alone(self, tokens: Sequence[int]) -> Tensor:
        """Return the next token's logits [1, V] from one sequence without a cache: always the same arithmetic."""
        outputs = self._model(input_ids=torch.tensor([tokens], device=self._model.device), use_cache=False)
        logits = outputs.logits[:, -1]
        assert isinstance(logits, Tensor)
        return logits.float()


def _choose(logits: Tensor, uniforms: Tensor, greedy: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return one token per row, greedy or drawn with ``uniforms`` [R, 1], and whether rounding could change it.

    Logits that are each off by up to r swap the two highest if these are within 2r, and move a boundary F between two
    tokens' shares of [0, 1] by at most 2r/temperature * F(1 - F): hardly at all in the tails, where most of them are.
    """
    highest, best = logits.max(dim=-1, keepdim=True)
    best = best[:, 0]
    spread = 2 * _ROUNDING * logits.abs().amax(dim=-1, keepdim=True)
    tied = (logits >= highest - spread).sum(dim=-1) > 1
    if temperature == 0 or bool(greedy.all()):
        return best, tied
    cumulative = functional.softmax(logits / temperature, dim=-1).cumsum(dim=-1, dtype=torch.float64)
    margin = spread / temperature * uniforms * (1 - uniforms)
    targets = torch.cat([uniforms, uniforms - margin, uniforms + margin], dim=1)
    found = torch.searchsorted(cumulative, targets * cumulative[:, -1:], right=True).clamp_max(logits.shape[-1] - 1)
    drawn, below, above = found.unbind(dim=1)
    return torch.where(greedy, best, drawn), torch.where(greedy, tied, below != above)


def _uniforms(branches: Sequence[Branch], count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return [R, count] numbers in [0, 1): row by row the start of that seed's Philox stream."""
    numbers = np.zeros((len(branches), count))
    for row, branch in enumerate(branches):
        if branch.seed is not None:
            numbers[row] = np.random.Generator(np.random.Philox(key=branch.seed)).random(count)
    return numbers


def _longest_first(prompts: Sequence[Prompt]) -> deque[Prompt]:
    """Sort by length and split what has too many branches for one group's table."""
    parts = [
        Prompt(prompt.tokens, prompt.branches[start : start + MAX_BRANCHES])
        for prompt in prompts
        for start in range(0, len(prompt.branches), MAX_BRANCHES)
    ]
    return deque(sorted(parts, key=lambda prompt: (-len(prompt.tokens), prompt.tokens)))


def _take(waiting: deque[Prompt], tokens: int, rows: int) -> list[Prompt]:
    """Remove and return the next prompts that fit: at least one, at most ``tokens`` with padding and ``rows``."""
    unit = [waiting.popleft()]
    rows -= len(unit[0].branches)
    width = len(unit[0].tokens)
    while waiting and width * (len(unit) + 1) <= tokens and len(waiting[0].branches) <= rows:
        rows -= len(waiting[0].branches)
        unit.append(waiting.popleft())
    return unit


def _decoded(rows: _Rows, ended: Tensor, stop_ids: Tensor) -> Iterator[Decoded]:
    if len(ended) == 0:
        return
    stops = set(stop_ids.tolist())
    counts = rows.cache.ages[ended].tolist()
    for key, count, tokens in zip(rows.keys[ended].tolist(), counts, rows.written[ended].tolist(), strict=True):
        yield Decoded(key, tuple(tokens[:count]), tokens[count - 1] in stops)


def _without_ended(rows: _Rows) -> _Rows | None:
    """Drop ended rows once they are an eighth of the batch: dropping copies the cache."""
    ended = int(rows.done.sum())
    if ended == len(rows):
        return None
    if ended * 8 >= len(rows):
        rows.keep((~rows.done).nonzero()[:, 0])
    return rows
