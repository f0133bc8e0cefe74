"""Which checkpoints are in this process's memory: each is loaded at first need, after others have made room for it.

A team has five agents and a card holds one checkpoint of the sizes that it is bought for. So an engine starts when it
first has something to compute, and before another one starts, the longest unused leave until no more than
``generation.loaded_models`` are there. An engine that left keeps its identity and its cache, and starts again when it
is needed again. How often that is depends on who asks: a stage asks each agent for all its answers at once.

What takes long to start may outlive its agents: between :meth:`LoadedModels.keeping` and the end of that block it stays
for the next stage's, until another checkpoint or a training needs the room.

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
        self._keepers = 0
        self._kept: set[Loadable] = set()

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Have what :meth:`leave` lets go of stay loaded until the block ends, or its room is needed."""
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers -= 1
                if not self._keepers:
                    self.free()

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

    def leave(self, engine: Loadable) -> None:
        """Let go of an engine that nobody will ask: its memory is free now, or when its room is needed."""
        with self._lock:
            if self._keepers and engine in self._users:
                self._kept.add(engine)
            else:
                self.unload(engine)

    def free(self) -> None:
        """Free the memory of what was kept and computes nothing."""
        with self._lock:
            for engine in [engine for engine in self._kept if not self._users.get(engine)]:
                self.unload(engine)

    def unload(self, engine: Loadable) -> None:
        """Free an engine's memory."""
        with self._lock:
            self._users.pop(engine, None)
            self._kept.discard(engine)
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
