"""Servers of other software, started by tests as users start them."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

_WITHIN_S = 600


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Return once a server answers at ``address``; fail with its ``log`` when it ends before, or takes ten minutes."""
    last = time.monotonic() + _WITHIN_S
    while time.monotonic() < last and process.poll() is None:
        try:
            with urllib.request.urlopen(address):
                return
        except (URLError, ConnectionError):
            time.sleep(0.5)  # polling another process, not waiting for a time to pass
    raise AssertionError(log.read_text()[-4000:])
