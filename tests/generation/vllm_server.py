"""vLLM's own server, for the tests where vLLM is installed.

It is started as the module that ``vllm serve`` runs: the command of vLLM's CPU wheel (0.32.0) asks for the version of a
package of another name, and ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

_STARTS_WITHIN_S = 600


@contextmanager
def vllm_serving(model: Path, log: Path, arguments: Sequence[str] = ()) -> Iterator[str]:
    """Serve a checkpoint; yield where its interface begins (…/v1), once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), *arguments],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(process, port, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    last = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < last and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                return
        except (URLError, ConnectionError):
            time.sleep(0.5)  # polling another process, not waiting for a time to pass
    raise AssertionError(log.read_text()[-4000:])
