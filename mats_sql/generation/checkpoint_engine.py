"""What the engines share that run a checkpoint in this process: it is loaded at the first draw that no cache answers.

Opening such an engine reads no weights: only what a user wants to hear at once is looked at (:mod:`.checkpoint`).
Prompts are tokenised, and over-long ones refused, without the model too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from mats_sql.agents import Messages
from mats_sql.config import GenerationSettings
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.chat_tokens import ChatTokens
from mats_sql.generation.checkpoint import context_length
from mats_sql.generation.draws import DrawingEngine
from mats_sql.generation.loaded import LOADED, free_memory

Model = TypeVar("Model")


class CheckpointEngine(DrawingEngine, Generic[Model]):
    """Draw from one checkpoint, held in memory only while there is room for it (:mod:`.loaded`).

    A prompt longer than ``max_prompt_tokens``, or than the model's context, is refused.
    """

    def __init__(self, settings: GenerationSettings, checkpoint: Path | str, cache: CompletionCache | None) -> None:
        super().__init__(cache)
        self._settings = settings
        self._checkpoint = checkpoint
        self._model: Model | None = None

    @abstractmethod
    def _start(self) -> Model:
        """Load the checkpoint. Raises :class:`ModelError` or :class:`EngineError` when it does not load."""

    @abstractmethod
    def _stop(self, model: Model) -> None:
        """End what dropping ``model`` does not end."""

    @property
    @abstractmethod
    def _most_loaded(self) -> int:
        """How many checkpoints may be in memory where the settings do not say."""

    def load(self) -> None:
        """Load the checkpoint and count the start."""
        self._model = self._start()
        self.starts += 1

    def unload(self) -> None:
        """Free the checkpoint's memory; the next draw that no cache answers loads it again."""
        if self._model is not None:
            self._stop(self._model)
            self._model = None
            free_memory()

    def close(self) -> None:
        """Free the model's memory and close the cache."""
        super().close()
        LOADED.unload(self)

    @contextmanager
    def _loaded(self) -> Iterator[Model]:
        """Give the loaded model, which stays in memory until the block ends."""
        with LOADED.holding(self, self._settings.loaded_models or self._most_loaded):
            assert self._model is not None
            yield self._model

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
