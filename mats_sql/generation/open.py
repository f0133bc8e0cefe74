"""Open the engine that the settings name."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from mats_sql.config import GenerationSettings
from mats_sql.digests import digest_json, digest_tree
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.checkpoint import check_checkpoint, check_full_attention, listed_layers
from mats_sql.generation.draws import DrawingEngine, OnDrawn
from mats_sql.generation.engine import Engine


def open_engine(
    settings: GenerationSettings,
    model: Path | str,
    *,
    cache: Path | None = None,
    on_drawn: OnDrawn | None = None,
    cluster: Literal["ray"] | None = None,
) -> Engine:
    """Return an engine bound to ``model``; with ``cache`` (a SQLite file, made if absent) no draw is computed twice.

    ``model`` is a checkpoint folder, a hub name, or, for the ``openai`` engine, the name the server knows it by. Of a
    folder no server knows: then ``settings.model`` is asked for, or the only model that the server lists; with
    ``settings.server_adapters`` the server is handed what the folder adds to its base.
    ``on_drawn`` hears how far each call is. With ``cluster`` the checkpoint is loaded on its nodes, and all answers are
    computed there; a server gets its requests from here all the same. Opening loads no checkpoint: that waits for the
    first draw or score that the cache does not answer, and torn weights are heard of then.
    Raises :class:`ModelError` for a checkpoint that is missing or has no weights or chat template,
    :class:`EngineError` for an engine that is not installed or cannot be reached, and :class:`ClusterError` for a
    cluster whose software is not installed.
    """
    if settings.engine == "openai" and isinstance(model, Path) and not settings.server_adapters:
        from mats_sql.generation.openai_engine import served_model

        model = served_model(settings)
    if settings.server_adapters or (settings.engine != "openai" and (isinstance(model, Path) or Path(model).is_dir())):
        _check_folder(settings, Path(model))
    store = CompletionCache(cache, engine_identity(settings, model)) if cache is not None else None
    try:
        engine = _open(settings, model, store) if cluster is None else _open_on_cluster(settings, model, store)
    except BaseException:
        if store is not None:
            store.close()
        raise
    engine.on_drawn = on_drawn
    return engine


def engine_identity(settings: GenerationSettings, model: Path | str) -> str:
    """Return what an engine adds to an answer: its kind, its number formats and the content of its checkpoint.

    A checkpoint is known by its bytes, so that equal models in two folders share entries and an edited one has none. A
    hub name or a server's model name stands for itself.
    """
    path = Path(model)
    if settings.engine == "openai":
        known_as = _model_digest(path) if settings.server_adapters else str(model)
        return digest_json([settings.engine, settings.base_url, known_as])
    quantised = [] if settings.engine != "vllm" or settings.quantization is None else [settings.quantization]
    known_as = _model_digest(path) if path.is_dir() else str(model)
    return digest_json([settings.engine, settings.dtype, known_as, *quantised])


def _open(settings: GenerationSettings, model: Path | str, cache: CompletionCache | None) -> DrawingEngine:
    if settings.server_adapters:
        from mats_sql.generation.adapter_server import AdapterServerEngine

        return AdapterServerEngine(settings, Path(model), cache)
    if settings.engine == "openai":
        from mats_sql.generation.openai_engine import OpenAIEngine

        return OpenAIEngine(settings, str(model), cache)
    if settings.engine == "vllm":
        from mats_sql.generation.vllm_engine import VllmEngine

        return VllmEngine(settings, model, cache)
    from mats_sql.generation.transformers_engine import TransformersEngine

    return TransformersEngine(settings, model, cache)


def _open_on_cluster(settings: GenerationSettings, model: Path | str, cache: CompletionCache | None) -> DrawingEngine:
    if settings.engine == "openai":
        return _open(settings, model, cache)
    from mats_sql.generation.cluster_engine import ClusterEngine

    return ClusterEngine(settings, model, cache, _open)


def _check_folder(settings: GenerationSettings, model: Path) -> None:
    check_checkpoint(model)
    if settings.engine == "transformers":
        check_full_attention(model, listed_layers(model))


def _model_digest(path: Path) -> str:
    """Digest a checkpoint, once per process as long as its files' sizes and times stay the same."""
    files = sorted(item for item in path.rglob("*") if item.is_file())
    stamp = tuple((str(item), item.stat().st_size, item.stat().st_mtime_ns) for item in files)
    return _digest_stamped(path, stamp)


@functools.lru_cache(maxsize=64)
def _digest_stamped(path: Path, _stamp: tuple[tuple[str, int, int], ...]) -> str:
    return digest_tree(path)
