"""Every random choice derives from (root seed, names), never from order, time or the number of workers."""

from __future__ import annotations

import hashlib
import random


def derive_seed(root: int, *parts: str | int) -> int:
    """Return a 63-bit seed that depends on ``root`` and every part, and on nothing else."""
    text = "\x1f".join([str(root), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def replicate_seed(root: int, number: int) -> int:
    """Return the root seed of a replicate; number 0 has the root itself, so that its work is that of no replicates."""
    return derive_seed(root, "replicate", number) if number else root


def derive_random(root: int, *parts: str | int) -> random.Random:
    """Return a generator seeded by :func:`derive_seed`."""
    return random.Random(derive_seed(root, *parts))
