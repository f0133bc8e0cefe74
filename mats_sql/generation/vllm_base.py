"""One vLLM for all agents of a base: it starts once, and each call says which LoRA adapter answers.

A team of adapters on one base so loads one checkpoint, where a card has room for no more. Which agents share is seen
from their files: the base of a checkpoint in layers is linked, not copied (:mod:`mats_sql.layers`). Copies of equal
bytes, as on another file system, do not share; they answer alike.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mats_sql.config import GenerationSettings
from mats_sql.digests import digest_json
from mats_sql.errors import EngineError, one_line
from mats_sql.generation.checkpoint import context_length
from mats_sql.generation.loaded import LOADED, free_memory
from mats_sql.generation.warden import Warden
from mats_sql.layers import merged

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from vllm import LLM, RequestOutput, SamplingParams

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The most that an adapter's rank may be, as vLLM's ``max_lora_rank`` takes them."""
ENVIRONMENT = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
"""What vLLM reads, unless the user says otherwise: a process that has asked whether there is a card must not fork, and
vLLM sees only that it has used one (0.26)."""
_WATCH_S = 1.0
_GONE_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter of PEFT's on a base, known to it by its number (from 1)."""

    number: int
    rank: int
    folder: Path


class VllmBase:
    """A base that runs in vLLM from the first call until another checkpoint needs the room.

    Adapters are announced before they answer: vLLM is started for the largest rank that it has heard of, and again for
    a larger one.
    """

    def __init__(self, settings: GenerationSettings, checkpoint: Path | str) -> None:
        """Start nothing. ``checkpoint`` may have layers: then they are merged, and it is a base all the same."""
        self.starts = 0
        self._settings = settings
        self._checkpoint = checkpoint
        self._llm: LLM | None = None
        self._warden: Warden | None = None
        self._ranks: dict[int, int] = {}
        self._numbers = itertools.count(1)
        self._started_for = 0
        self._lock = threading.RLock()

    def join(self, rank: int) -> int:
        """Announce an agent whose adapter has this rank, 0 for the base itself; return its number."""
        with self._lock:
            number = next(self._numbers)
            self._ranks[number] = rank
            return number

    def leave(self, number: int) -> None:
        """Say that an agent asks nothing more; when the last one has left, vLLM ends, or is kept (:mod:`.loaded`)."""
        with self._lock:
            del self._ranks[number]
            if not self._ranks:
                LOADED.leave(self)

    @contextmanager
    def loaded(self, adapter: Adapter | None) -> Iterator[LLM]:
        """Give vLLM, started so that ``adapter`` may answer, until the block ends."""
        with self._lock:  # a call is of one agent: vLLM's own interface is for one thread
            if adapter is not None and self._llm is not None and adapter.rank > self._started_for:
                LOADED.unload(self)
            # one, unless told otherwise: each takes gpu_memory_utilization of the card, whatever its size
            with LOADED.holding(self, self._settings.loaded_models or 1):
                assert self._llm is not None
                yield self._llm

    def run(
        self, prompts: Sequence[Sequence[int]], parameters: Sequence[SamplingParams], adapter: Adapter | None
    ) -> list[RequestOutput]:
        """Return the outputs of requests, in order. Raises :class:`EngineError` when vLLM does not start or dies."""
        from vllm import TokensPrompt
        from vllm.v1.engine.exceptions import EngineDeadError

        asked = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts]
        try:
            with self.loaded(adapter) as llm, _hearing_of_its_death(llm):
                options = _asked_of(adapter)
                outputs: list[RequestOutput] = llm.generate(asked, list(parameters), use_tqdm=False, **options)
        except EngineDeadError as error:
            LOADED.unload(self)  # so that the next call starts another
            raise EngineError(
                f"vLLM's engine must live until all is drawn, but: {one_line(error)}; lower generation.decode_rows, or "
                "look for the cause above"
            ) from None
        return outputs

    def load(self) -> None:
        """Start vLLM. Raises :class:`EngineError` when it does not start."""
        from vllm import LLM
        from vllm.platforms import current_platform

        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        on_cpu, ranks = current_platform.is_cpu(), [rank for rank in self._ranks.values() if rank]
        try:
            with merged(self._checkpoint) as folder, Warden() as warden:
                arguments = llm_arguments(self._settings, folder, context_length(self._checkpoint), on_cpu=on_cpu)
                self._llm = LLM(**arguments, **lora_arguments(ranks))
                warden.watch(process.pid for process in _processes(self._llm) if process.pid is not None)
                self._warden = warden
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineError(
                f"vLLM must start with {self._checkpoint}, but: {one_line(error)}; check model and memory "
                "(generation.gpu_memory_utilization)"
            ) from None
        self._started_for = max(ranks, default=0)
        self.starts += 1

    def unload(self) -> None:
        """End vLLM and free its memory."""
        if self._llm is not None:
            processes = _processes(self._llm)
            self._llm.llm_engine.engine_core.shutdown()
            for process in processes:  # its memory is free when it is gone, not when it is told
                process.join(_GONE_WITHIN_S)
            self._llm = None
            if self._warden is not None:
                self._warden.dismiss()
                self._warden = None
            free_memory()


def _processes(llm: LLM) -> Sequence[BaseProcess]:
    """Return the processes in which vLLM's engine runs; none where it runs in this one."""
    resources = getattr(llm.llm_engine.engine_core, "resources", None)
    found: Sequence[BaseProcess] = getattr(getattr(resources, "engine_manager", None), "processes", ())
    return found


_BASES: weakref.WeakValueDictionary[str, VllmBase] = weakref.WeakValueDictionary()
_OPENING = threading.Lock()


def shared_base(settings: GenerationSettings, checkpoint: Path | str) -> VllmBase:
    """Return this process's vLLM of a checkpoint's files under these settings, made when there is none."""
    known_as = digest_json([settings.model_dump(mode="json"), _files(checkpoint)])
    with _OPENING:
        base = _BASES.get(known_as)
        if base is None:
            base = _BASES[known_as] = VllmBase(settings, checkpoint)
        return base


def _files(checkpoint: Path | str) -> object:
    folder = Path(checkpoint)
    if not folder.is_dir():
        return str(checkpoint)
    found = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [[path.relative_to(folder).as_posix(), stat.st_dev, stat.st_ino, stat.st_mtime_ns] for path, stat in found]


def sequence_length(settings: GenerationSettings, context: int | None) -> int:
    """Return how many tokens a prompt and its answer may have together, if the model takes ``context`` at most."""
    wanted = settings.max_prompt_tokens + settings.longest_answer
    return wanted if context is None else min(wanted, context)


def llm_arguments(
    settings: GenerationSettings, model: Path | str, context: int | None, *, on_cpu: bool
) -> dict[str, object]:
    """Return what ``vllm.LLM`` is started with; ``context`` is the most tokens that the model itself takes, if known.

    A sequence holds the longest prompt and the longest answer of any agent, not all that the model could take: the
    32,768 tokens of Qwen2.5 would have to fit one step of the scheduler. A step holds at least one whole sequence. On a
    GPU whether a prompt may be split over steps is vLLM's own choice; on a CPU it may not: vLLM's CPU sampler crashes
    on a split prompt that has a seed.
    """
    sequence = sequence_length(settings, context)
    arguments: dict[str, object] = {
        "model": str(model),
        "dtype": settings.dtype,
        "max_model_len": sequence,
        "max_num_batched_tokens": max(settings.batch_tokens, sequence),
        "max_num_seqs": settings.decode_rows,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "enforce_eager": not settings.compiled,
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "seed": 0,
    }
    if settings.quantization is not None:
        arguments["quantization"] = settings.quantization
    if on_cpu:
        arguments["enable_chunked_prefill"] = False
    return arguments


def lora_arguments(ranks: Sequence[int]) -> Mapping[str, object]:
    """Return what ``vllm.LLM`` is started with for adapters of these ranks: one at a time, all of them at hand."""
    if not ranks:
        return {}
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": lora_rank(max(ranks)), "max_cpu_loras": len(ranks)}


def lora_rank(rank: int) -> int:
    """Return the ``max_lora_rank`` that vLLM has to be started with for an adapter of a rank, its largest at most."""
    return next((known for known in RANKS if known >= rank), RANKS[-1])


@contextmanager
def _hearing_of_its_death(llm: LLM) -> Iterator[None]:
    """Let a call hear that the engine's process died: vLLM knows it, but its call for one thread would wait for ever.

    (vLLM 0.32: ``SyncMPClient.get_output`` waits at a queue into which the thread that notices puts nothing.)
    """
    from vllm.v1.engine.exceptions import EngineDeadError

    core, over = llm.llm_engine.engine_core, threading.Event()
    answers, resources = getattr(core, "outputs_queue", None), getattr(core, "resources", None)

    def watch() -> None:
        while answers is not None and resources is not None and not over.wait(_WATCH_S):
            if resources.engine_dead:
                answers.put_nowait(EngineDeadError())
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _asked_of(adapter: Adapter | None) -> dict[str, object]:
    if adapter is None:
        return {}
    from vllm.lora.request import LoRARequest

    return {"lora_request": LoRARequest(str(adapter.number), adapter.number, str(adapter.folder))}
