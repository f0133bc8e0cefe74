"""vLLM's own server, for the tests where vLLM is installed.

It is started as the module that ``vllm serve`` runs: the command of vLLM's CPU wheel (0.32.0) asks for the version of a
package of another name, and ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.serving import free_port, serving


@contextmanager
def vllm_serving(model: Path, log: Path, arguments: Sequence[str] = ()) -> Iterator[str]:
    """Serve a checkpoint; yield where its interface begins (…/v1), once it answers."""
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    place = ["--host", "127.0.0.1", "--port", str(port), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with serving([*command, *place], f"http://127.0.0.1:{port}/health", log, env=environment):
        yield f"http://127.0.0.1:{port}/v1"
