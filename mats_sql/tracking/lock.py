"""One process at a time per name, on one machine."""

from __future__ import annotations

import fcntl
import logging
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

_logger = logging.getLogger(__name__)
_threads: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def exclusive(path: Path, what: str, *, brief: bool = False) -> Iterator[None]:
    """Hold the lock file ``path``; wait, and say so unless it is ``brief``, while another process or thread holds it.

    The kernel frees the lock when its holder dies, however it dies. Record locks (``lockf``) rather than ``flock``:
    a worker that the holder forked must not keep the lock when the holder is killed. They do not exclude threads of
    one process, so a thread lock comes first. Not covered: two machines that share the folder over NFS without locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _threads[path.resolve()], path.open("a") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not brief:
                _logger.warning("%s is being worked on by another process; waiting for it to end", what)
            fcntl.lockf(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def first_free(folder: Path, name: str) -> Iterator[str]:
    """Hold the first lock that nobody holds of ``name``, ``name-2``, ``name-3``, …; yield its name, never wait."""
    for number in count(1):
        own = name if number == 1 else f"{name}-{number}"
        path = folder / f"{own}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _threads[path.resolve()].acquire(blocking=False):
            continue
        try:
            with path.open("a") as stream:
                try:
                    fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield own
                return
        finally:
            _threads[path.resolve()].release()
