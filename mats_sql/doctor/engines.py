"""Whether what draws can be used: transformers, vLLM where the config asks for it, servers that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from mats_sql.config import Experiment, GenerationSettings
from mats_sql.doctor.finding import Finding, Status, missing, ok
from mats_sql.errors import EngineError, one_line

CONNECT_S = 3.0


def engine_findings(experiment: Experiment) -> Iterator[Finding]:
    """Yield what is installed, and which servers answer within :data:`CONNECT_S` seconds."""
    yield _package("transformers", needed=True)
    settings, teacher = experiment.generation, experiment.teacher
    yield _package("vllm", needed=settings.engine == "vllm")
    if experiment.cluster is not None:
        yield _package(experiment.cluster, needed=True, instead="leave cluster out")
    if settings.engine == "openai":
        server = _server("engine: openai", settings.base_url, settings.api_key_variable, "generation.base_url")
        yield server
        if settings.server_adapters and server.status is Status.OK:
            yield _adapters(settings)
    if teacher.kind == "large_model":
        yield _server("teacher: large model", teacher.base_url, teacher.api_key_variable, "teacher.base_url")


def _package(name: str, *, needed: bool, instead: str = "generation.engine=transformers") -> Finding:
    check = f"engine: {name}"
    try:
        installed = version(name)
    except PackageNotFoundError:
        if needed:
            return missing(check, "not installed", f"pip install 'mats-sql[{name}]', or {instead}")
        return ok(check, "not installed, not needed")
    if not needed:
        return ok(check, f"{installed}, not used by this config")
    try:
        __import__(name)
    except Exception as error:  # noqa: BLE001 (whatever keeps it from importing keeps the engine from starting)
        return missing(check, f"{installed} does not import: {one_line(error)}", "install it anew, for this machine")
    return ok(check, installed)


def _adapters(settings: GenerationSettings) -> Finding:
    """Look whether the server has a base whose folder is seen here; whose base it is the stages ask themselves."""
    from mats_sql.generation import served_bases

    check = "engine: adapters"
    try:
        folders = [str(folder) for folder in served_bases(settings).values() if folder.is_dir()]
    except EngineError as error:
        return missing(check, one_line(error), "start the server")
    if not folders:
        found = f"{settings.base_url} names no folder of a base that is seen here"
        return missing(check, found, "start vLLM's server with the base's folder, where both see it")
    return ok(check, f"{settings.base_url} serves {', '.join(folders)}")


def _server(check: str, url: str | None, key_variable: str, setting: str) -> Finding:
    """Ask once for the server's models; any answer will do, since not all servers list them."""
    if url is None:
        return missing(check, f"{setting} is not set", f"set {setting}, e.g. http://localhost:8000/v1")
    from openai import APIConnectionError, APIStatusError, OpenAI

    key = os.environ.get(key_variable) or "none"
    try:
        client = OpenAI(base_url=url, api_key=key, max_retries=0, timeout=CONNECT_S)
        client.models.with_raw_response.list()
    except APIStatusError as error:
        if error.status_code in (401, 403):
            return missing(check, f"{url} refuses the key ({error.status_code})", f"set {key_variable}")
    except (APIConnectionError, ValueError) as error:
        found = f"{url} does not answer: {one_line(error.__cause__ or error)}"
        return missing(check, found, f"start the server, or set {setting}")
    return ok(check, f"{url} answers")
