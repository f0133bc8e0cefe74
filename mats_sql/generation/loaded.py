"""Which checkpoints are in this process's memory: each is loaded at first need, after others have made room for it.

A team has five agents and a card holds one checkpoint of the sizes that it is bought for. So an engine starts when it
first has something to compute, and before another one starts, the longest unused leave until no more than
``generation.loaded_models`` are there. An engine that left keeps its identity and its cache, and starts again when it
is needed again. How often that is depends on who asks: a stage asks each agent for all its answers at once.

Threads may share engines: one that is computing does not leave, even if more stay loaded than the limit says.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Loadable(Protocol):
    """What has a checkpoint in memory, or has not."""

    def load(self) -> None:
        """Load the checkpoint."""

    def unload(self) -> None:
        """Free the memory; do nothing where nothing is loaded."""


class LoadedModels:
    """The loaded ones, the longest unused first. They are held weakly: who is dropped unclosed leaves too."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users: weakref.WeakKeyDictionary[Loadable, int] = weakref.WeakKeyDictionary()

    @contextmanager
    def holding(self, engine: Loadable, most: int) -> Iterator[None]:
        """Have ``engine`` loaded, and at most ``most`` with it, until the block ends; what it needs is loaded now."""
        with self._lock:
            users = self._users.pop(engine, None)
            if users is None:
                self._make_room(most)
                free_memory()
                engine.load()
            self._users[engine] = (users or 0) + 1
        try:
            yield
        finally:
            with self._lock:
                if engine in self._users:
                    self._users[engine] -= 1

    def unload(self, engine: Loadable) -> None:
        """Free an engine's memory."""
        with self._lock:
            self._users.pop(engine, None)
            engine.unload()

    def _make_room(self, most: int) -> None:
        idle = [engine for engine, users in self._users.items() if users == 0]
        for engine in idle[: max(0, len(self._users) - most + 1)]:
            self.unload(engine)


LOADED = LoadedModels()
"""This process's checkpoints: the limit holds over all engines, whoever opened them."""


def free_memory() -> None:
    """Give a GPU back what is no longer referred to; on a CPU dropping the last reference has done it."""
    import torch

    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
