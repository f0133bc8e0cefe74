"""What the engines share that run a checkpoint in this process: prompts are tokenised, and over-long ones refused.

That needs no model: opening such an engine reads no weights, only what a user wants to hear at once is looked at
(:mod:`.checkpoint`). They are loaded at the first draw that no cache answers, while there is room (:mod:`.loaded`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from mats_sql.agents import Messages
from mats_sql.config import GenerationSettings
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.chat_tokens import ChatTokens
from mats_sql.generation.checkpoint import context_length
from mats_sql.generation.draws import DrawingEngine


class CheckpointEngine(DrawingEngine):
    """Draw from one checkpoint.

    A prompt longer than ``max_prompt_tokens``, or than the model's context, is refused.
    """

    def __init__(self, settings: GenerationSettings, checkpoint: Path | str, cache: CompletionCache | None) -> None:
        super().__init__(cache)
        self._settings = settings
        self._checkpoint = checkpoint

    @cached_property
    def _tokens(self) -> ChatTokens:
        return ChatTokens(self._checkpoint)

    @cached_property
    def _context(self) -> int | None:
        return context_length(self._checkpoint)

    @cached_property
    def _longest_prompt(self) -> int:
        most = self._settings.max_prompt_tokens
        return min(most, (self._context or most + 1) - 1)

    def _tokenized(self, prompts: Sequence[Messages]) -> dict[Messages, tuple[int, ...]]:
        distinct = list(dict.fromkeys(prompts))
        return dict(zip(distinct, self._tokens.prompts(distinct), strict=True))

    def _fits(self, tokens: Sequence[int]) -> bool:
        return len(tokens) <= self._longest_prompt
