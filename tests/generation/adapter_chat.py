"""A chat server that takes LoRA adapters while it runs, as vLLM's does, and computes its answers with them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mats_sql.layers import begin_layer, write_merged
from tests.chat_server import ChatServer, running
from tests.generation.conftest import ModelAnswers


class AdapterChatServer(ChatServer):
    """Serves a base and, under the names that it is told, the adapters that it was given folders of.

    ``taken`` are the names of all that it ever took, in order; an adapter that ``refuses`` is refused with that text.
    """

    def __init__(self, base: Path, work: Path) -> None:
        super().__init__(self.answer_as_named)
        self.base, self.work = base, work
        self.taken: list[str] = []
        self.refuses = ""
        self.restart()

    def restart(self) -> None:
        """Forget the adapters."""
        self.models = {self.model_name: ModelAnswers(self.base)}

    def known(self) -> list[str]:
        """Return the names of base and adapters."""
        return list(self.models)

    def cards(self) -> list[dict[str, object]]:
        """Return what vLLM lists: where a base's files are, and which base an adapter is of."""
        base = {"id": self.model_name, "root": str(self.base), "parent": None}
        adapters = [name for name in self.models if name != self.model_name]
        return [base, *({"id": name, "root": "/adapter", "parent": self.model_name} for name in adapters)]

    def serve(self, path: str, body: dict[str, Any]) -> tuple[int, object]:
        """Take an adapter, or give it up."""
        name = body["lora_name"]
        if path == "/v1/unload_lora_adapter":
            return (200, "done") if self.models.pop(name, None) else (404, {"error": {"message": "no such adapter"}})
        if self.refuses:
            return 400, {"error": {"message": self.refuses}}
        layered, whole = (Path(tempfile.mkdtemp(dir=self.work)) for _ in range(2))
        shutil.copytree(body["lora_path"], begin_layer(layered, self.base), dirs_exist_ok=True)
        write_merged(layered, whole)
        self.models[name] = ModelAnswers(whole)
        self.taken.append(name)
        return 200, "done"

    def answer_as_named(self, body: dict[str, Any]) -> tuple[int, object]:
        """Answer as the model that is asked for."""
        return self.models[body["model"]](body)


@contextmanager
def adapter_serving(base: Path, work: Path) -> Iterator[AdapterChatServer]:
    """Run a server of a base; ``work`` is an empty folder of its own."""
    with running(AdapterChatServer(base, work)) as server:
        yield server
