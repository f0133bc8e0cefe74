"""What parent and worker say to each other: frames (four bytes of length, then ``marshal``) over one socket.

Standard library only: a worker imports this module and little else. ``marshal`` rather than ``pickle``, because a
worker has read untrusted data and its parent must not run code that arrives.
"""

from __future__ import annotations

import marshal
import os
from typing import NamedTuple

RECYCLED = 3
"""Exit code of a worker that answered, and wants a fresh process because memory ran out."""
GRACE_S = 2.0
"""CPU seconds after the deadline at which the kernel ends a worker that is stuck inside one operation."""
MAX_GOLD_BLOB = 64 * 1024 * 1024
"""Gold results above this many bytes are not handed to the parent; they are executed again when needed again."""

Row = tuple[object, ...]
Verdicts = tuple[str, str, str, str]
"""Official, multiset and ordered verdict, and the execution outcome the judge saw."""
GOLD_UNAVAILABLE: Verdicts = ("gold_unavailable", "gold_unavailable", "gold_unavailable", "error")


class WireLimits(NamedTuple):
    """The bounds on one execution, as sent by the parent."""

    timeout_s: float
    max_steps: int
    max_rows: int
    max_result_bytes: int
    memory_mib: int
    preview_rows: int
    nearest_values: int
    nearest_retries: int
    max_value_bytes: int
    max_sql_bytes: int
    judge_min_steps: int
    judge_steps_per_gold_step: int
    judge_steps_per_page: int


def receive() -> tuple[str, str, bool, tuple[bytes, str, bytes | None, int] | None, bool, list[str]] | None:
    """Return the parent's next frame, or ``None`` once the socket is closed."""
    head = read_exactly(4)
    if head is None:
        return None
    body = read_exactly(int.from_bytes(head, "little"))
    return None if body is None else marshal.loads(body)


def read_exactly(size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def frame(message: tuple[object, ...]) -> bytes:
    """Return a message of plain values as its length and its ``marshal`` bytes."""
    body = pack(message)
    return len(body).to_bytes(4, "little") + body


def pack(value: object) -> bytes:
    """Return plain values as ``marshal`` bytes that depend on the values alone."""
    return marshal.dumps(value, 2)  # type: ignore[arg-type]


def send(message: tuple[object, ...]) -> None:
    """Write one frame to the parent."""
    view = memoryview(frame(message))
    while view:
        view = view[os.write(0, view) :]
