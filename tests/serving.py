"""Servers of other software, started by tests as users start them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

_WITHIN_S = 600


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], health: str, log: Path, **options: Any) -> Iterator[None]:
    """Run a server while the block runs, which begins once it answers at ``health``; ``options`` are ``Popen``'s."""
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, **options)
    try:
        wait_until_healthy(process, health, log)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Return once a server answers; fail with its ``log`` when it ends before that, or takes ten minutes."""
    last = time.monotonic() + _WITHIN_S
    while time.monotonic() < last and process.poll() is None:
        try:
            with urllib.request.urlopen(address):
                return
        except (URLError, ConnectionError):
            time.sleep(0.5)  # polling another process, not waiting for a time to pass
    raise AssertionError(log.read_text()[-4000:])
