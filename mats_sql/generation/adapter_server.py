"""Checkpoints in layers behind one vLLM server: each engine hands the server its adapter, and takes it back at the end.

vLLM takes adapters while it runs (``POST /v1/load_lora_adapter``) where it was started with ``--enable-lora`` and
``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True``. It reads them from the folder that it is told, so server and command share a
file system. So whatever SFT and ORPO train is drawn from, though the server was started before there was any of it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from openai import APIConnectionError, APIStatusError

from mats_sql.agents import Messages
from mats_sql.config import GenerationSettings
from mats_sql.digests import digest_file
from mats_sql.errors import EngineError, one_line
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.draws import Draw
from mats_sql.generation.engine import Completion, Sampling
from mats_sql.generation.openai_engine import OpenAIEngine, Reply, UnknownModelError, served_bases
from mats_sql.generation.vllm_base import lora_rank
from mats_sql.layers import adapter_rank, adapters_of, base_of, one_adapter

_START = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve {} --enable-lora --max-lora-rank {}"
_LEAST_RANK = 16
"""The ``max_lora_rank`` to suggest where a checkpoint has no adapter yet: vLLM's own default."""


class AdapterServerEngine(OpenAIEngine):
    """Draw from a checkpoint whose base a vLLM server has.

    The server gets the adapter at the first draw that no cache answers, under a name that no other engine has, and
    again when it has forgotten it, as after a restart. A checkpoint without adapters is answered by the base itself.
    """

    def __init__(self, settings: GenerationSettings, checkpoint: Path, cache: CompletionCache | None = None) -> None:
        """Connect. Raises :class:`EngineError` if the server does not answer or has another base."""
        super().__init__(settings, "", cache)
        self._checkpoint = checkpoint
        self._lock = threading.Lock()
        self._resources = ExitStack()
        try:
            self._base = self._served_base()
        except EngineError:
            self._client.close()
            raise

    def close(self) -> None:
        """Take the adapter back and close the connections and the cache; a server that is gone has nothing to give."""
        self._resources.close()
        super().close()

    def _complete(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion | None]]:
        self._hand_over(unless="")
        yield from super()._complete(draws, sampling)

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        self._hand_over(unless="")
        yield from super()._score(prompts, choices)

    def _ask(self, messages: Messages, body: Mapping[str, object]) -> Reply | None:
        asked = self._model
        try:
            return super()._ask(messages, body)
        except UnknownModelError:  # the server was started again since
            if asked == self._base:
                raise
            self._hand_over(unless=asked)
            return super()._ask(messages, body)

    def _hand_over(self, unless: str) -> None:
        """Give the server the adapter where the name that it goes by is still ``unless``: none, or a forgotten one."""
        with self._lock:
            if self._model != unless:
                return
            if not adapters_of(self._checkpoint):
                self._model = self._base
                return
            name = f"mats-sql-{uuid.uuid4().hex[:12]}"
            folder = self._resources.enter_context(one_adapter(self._checkpoint)).resolve()
            self._give(name, folder)
            self.starts += 1
            self._resources.callback(self._take_back, name)
            self._model = name

    def _give(self, name: str, folder: Path) -> None:
        try:
            body = {"lora_name": name, "lora_path": str(folder)}
            self._client.post("/load_lora_adapter", body=body, cast_to=str)
        except APIConnectionError as error:
            raise EngineError(f"{self._url} must take adapters, but: {one_line(error.__cause__ or error)}") from None
        except APIStatusError as error:
            said = one_line(error.response.text)
            raise EngineError(
                f"{self._url} must take adapters, but said {error.status_code}: {said}; start it as {self._start()}"
            ) from None

    def _take_back(self, name: str) -> None:
        """Say that the adapter is not needed; nothing depends on what comes of it, and a new server has none."""
        with suppress(APIConnectionError, APIStatusError):
            self._client.with_options(max_retries=0).post("/unload_lora_adapter", body={"lora_name": name}, cast_to=str)

    def _served_base(self) -> str:
        """Return the name of the model that the server was started with; it must be this checkpoint's base."""
        bases, own = served_bases(self._settings), base_of(self._checkpoint)
        found = next((name for name, folder in bases.items() if _same_files(own, folder)), None)
        if found is None:
            has = ", ".join(map(str, bases.values())) or "none that it names a folder of"
            raise EngineError(
                f"generation.server_adapters needs a vLLM server of the checkpoint's own base, but {self._url} has "
                f"{has}; start it as {self._start()}"
            )
        return found

    def _start(self) -> str:
        rank = max(adapter_rank(self._checkpoint), _LEAST_RANK)
        return _START.format(base_of(self._checkpoint), lora_rank(rank))


def _same_files(base: Path, served: Path) -> bool:
    """Whether a folder has every file of a base: the same one, or one of equal bytes."""
    return all(_same_file(path, served / path.name) for path in base.iterdir() if path.is_file())


def _same_file(path: Path, other: Path) -> bool:
    if not other.is_file() or path.stat().st_size != other.stat().st_size:
        return False
    return path.samefile(other) or digest_file(path) == digest_file(other)
