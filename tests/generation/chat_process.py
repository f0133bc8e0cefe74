"""A chat server in a process of its own, over a checkpoint, that can be killed and started again at the same address.

``python -m tests.generation.chat_process CHECKPOINT PORT`` is that process. With ``--answers N`` it is killed, by a
signal to itself, in its next answer after N: the moment is then the same however fast the machine is.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chat_server import ChatServer, Responder
from tests.generation.conftest import ModelAnswers
from tests.serving import free_port, wait_until_healthy

ROOT = Path(__file__).parent.parent.parent


class ChatProcess:
    """The server: started, killed with signal 9, started again."""

    def __init__(self, checkpoint: Path, log: Path, *options: str) -> None:
        self._port = free_port()
        self._command = [sys.executable, "-m", __name__, str(checkpoint), str(self._port), *options]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Start the process, which answers some seconds later."""
        with self._log.open("a") as stream:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)

    def wait(self) -> None:
        """Return once it answers."""
        assert self._process is not None
        wait_until_healthy(self._process, f"{self.url}/models", self._log)

    def kill(self) -> None:
        """Kill the process; nothing happens when it is dead."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def chat_process(checkpoint: Path, log: Path, *options: str) -> Iterator[ChatProcess]:
    """Run a server while the block runs, which begins once it answers."""
    server = ChatProcess(checkpoint, log, *options)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def _killed_after(answers: int, answer: Responder) -> Responder:
    """Answer so many requests; the next one kills this process."""
    given = 0

    def counted(body: dict[str, Any]) -> tuple[int, object]:
        nonlocal given
        if given == answers:
            os.kill(os.getpid(), signal.SIGKILL)
        given += 1
        return answer(body)

    return counted


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--answers", type=int)
    options = parser.parse_args()
    answer: Responder = ModelAnswers(options.checkpoint)
    if options.answers is not None:
        answer = _killed_after(options.answers, answer)
    ChatServer(answer, options.port).serve_forever()


if __name__ == "__main__":
    main()
