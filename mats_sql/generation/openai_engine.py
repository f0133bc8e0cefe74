"""The engine for any OpenAI-compatible server over HTTP: vLLM's own, a gateway, or a hosted model.

Every draw is one request with its own seed and ``n`` 1, so that a larger ``n`` only adds requests. Whether equal seeds
give equal answers is the server's promise, not ours: with a server that ignores seeds, the cache is what makes a rerun
repeat itself.

Choices are scored by the log-probability of their first token, as far as the server lists it (``top_logprobs`` 20): the
chat interface scores no given text. So choices must differ in their first token; one that is not listed gets
what the listed ones leave over, at most the least likely listed token's share.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from openai import APIConnectionError, APIStatusError, OpenAI, Timeout
from pydantic import BaseModel, Field, ValidationError

from mats_sql.agents import Messages, as_dicts
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError, one_line
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.draws import Draw, DrawingEngine, normalised
from mats_sql.generation.engine import Completion, Sampling

_TOP_LOGPROBS = 20
_CONNECT_S = 10.0
_MOST_NAMED = 8
_REFUSED_STATUS = frozenset({408, 409, 429})
"""Statuses below 500 after which the client asks again: the request was in order, the server was not."""

Asked = TypeVar("Asked")


class _TokenLogprob(BaseModel):
    token: str
    logprob: float


class _FirstToken(BaseModel):
    top_logprobs: list[_TokenLogprob] = Field(default_factory=list)


class _Logprobs(BaseModel):
    content: list[_FirstToken] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    completion_tokens: int = 0


class Reply(BaseModel):
    """What is read of a chat completion; servers may add fields."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class ListedModel(BaseModel):
    """A model in a server's list; vLLM adds where it has its files from, and an adapter's base."""

    id: str
    root: str | None = None
    parent: str | None = None


class _Models(BaseModel):
    """What is read of a server's list of models."""

    data: list[ListedModel]


class UnknownModelError(EngineError):
    """The server has no model of that name."""


class OpenAIEngine(DrawingEngine):
    """Draw from a model behind ``generation.base_url`` (…/v1), at most ``concurrency`` requests at once.

    A request that fails with 408, 409, 429, 5xx or in transport is sent again, ``attempts`` times in all, after the
    server's ``Retry-After`` or growing, jittered pauses: with the default about a minute passes, enough for a server to
    start again. A prompt that the server finds too long is refused, as in the other engines.
    """

    def __init__(self, settings: GenerationSettings, model: str, cache: CompletionCache | None = None) -> None:
        """Connect. Raises :class:`EngineError` if ``base_url`` is not set or the server does not answer."""
        super().__init__(cache)
        self._settings = settings
        self._model = model
        self._url = _url(settings)
        self._client = _client(settings)
        try:
            listed_models(self._client, self._url)  # any answer will do, since not all servers list their models
        except EngineError:
            self._client.close()
            raise

    def close(self) -> None:
        """Close the connections and the cache."""
        super().close()
        self._client.close()

    def _complete(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion | None]]:
        for draw, reply in self._ask_all(draws, lambda draw: self._ask(draw.messages, _draw_body(draw, sampling))):
            yield draw, _completion(reply) if reply else None

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...] | None]]:
        body: dict[str, object] = {"temperature": 0, "max_tokens": 1, "logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        for messages, reply in self._ask_all(prompts, lambda messages: self._ask(messages, body)):
            yield messages, self._choices(reply, choices) if reply else None

    def _choices(self, reply: Reply, choices: tuple[str, ...]) -> tuple[float, ...]:
        logprobs = reply.choices[0].logprobs
        if logprobs is None or not logprobs.content or not logprobs.content[0].top_logprobs:
            message = f"scoring needs a server that returns top_logprobs, but {self._url} does not; use another engine"
            raise EngineError(message)
        return _by_first_token(logprobs.content[0].top_logprobs, choices)

    def _ask_all(
        self, items: Sequence[Asked], ask: Callable[[Asked], Reply | None]
    ) -> Iterator[tuple[Asked, Reply | None]]:
        """Yield each item's reply as it comes; cancel the rest when the reader stops or one has failed."""
        with ThreadPoolExecutor(self._settings.concurrency) as threads:
            asked: dict[Future[Reply | None], Asked] = {threads.submit(ask, item): item for item in items}
            try:
                for future in as_completed(asked):
                    yield asked[future], future.result()
            finally:
                for future in asked:
                    future.cancel()

    def _ask(self, messages: Messages, body: Mapping[str, object]) -> Reply | None:
        """Return the reply to one chat request, or None when the server finds the prompt too long."""
        document: dict[str, Any] = {"model": self._model, "messages": as_dicts(messages), **body}
        try:
            response = self._client.chat.completions.with_raw_response.create(**document)
            return Reply.model_validate_json(response.content)
        except APIConnectionError as error:
            raise EngineError(f"{_unreachable(self._url, error)}; tried {self._settings.attempts} times") from None
        except APIStatusError as error:
            if error.status_code == 400 and _is_overlong(error.response.text):
                return None
            kind = UnknownModelError if error.status_code == 404 else EngineError
            raise kind(self._refused(error)) from None
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            message = f"{self._url} must answer with a chat completion, but: {problem}; is it OpenAI-compatible?"
            raise EngineError(message) from None

    def _refused(self, error: APIStatusError) -> str:
        said = f"but said {error.status_code}: {one_line(error.response.text)}"
        if error.status_code in _REFUSED_STATUS or error.status_code >= 500:
            return f"{self._url} must answer, {said}; tried {self._settings.attempts} times"
        remedy = f"check the model's name and {self._settings.api_key_variable}"
        if error.status_code == 404:
            remedy += f" (the server offers {_named(listed_models(self._client, self._url))})"
        return f"{self._url} must accept requests for {self._model!r}, {said}; {remedy}"


def served_model(settings: GenerationSettings) -> str:
    """Return the name that the server knows its model by: the settings', or that of the only model it lists.

    Raises :class:`EngineError` if the server cannot be reached, lists no model or several.
    """
    if settings.model is not None:
        return settings.model
    url = _url(settings)
    with _client(settings) as client:
        listed = listed_models(client, url)
    if len(listed) != 1:
        raise EngineError(
            f"a server's model must be named unless it is the only one, but {url} offers {_named(listed)}; "
            "set generation.model, or generation.servers.….model of the agent"
        )
    return listed[0].id


def served_bases(settings: GenerationSettings) -> dict[str, Path]:
    """Return name -> where its files are, of the models that a vLLM server was started with: no adapters.

    Raises :class:`EngineError` if the server cannot be reached.
    """
    with _client(settings) as client:
        listed = listed_models(client, _url(settings))
    return {model.id: Path(model.root) for model in listed if model.root and model.parent is None}


def _url(settings: GenerationSettings) -> str:
    if settings.base_url is None:
        raise EngineError(
            "generation.base_url must be set for the openai engine, or generation.servers.….base_url for its agent; "
            "e.g. http://localhost:8000/v1"
        )
    return settings.base_url.rstrip("/")


def _client(settings: GenerationSettings) -> OpenAI:
    try:
        return OpenAI(
            base_url=_url(settings),
            # Given even where there is none: else the client would send OPENAI_API_KEY to any server.
            api_key=os.environ.get(settings.api_key_variable) or "none",
            max_retries=settings.attempts - 1,
            timeout=Timeout(settings.timeout_s, connect=_CONNECT_S),
        )
    except ValueError as error:
        raise EngineError(_unreachable(_url(settings), error)) from None


def listed_models(client: OpenAI, url: str) -> list[ListedModel]:
    """Return what a server lists, nothing if it has no list; raise :class:`EngineError` if it is not there."""
    try:
        response = client.with_options(max_retries=0, timeout=_CONNECT_S).models.with_raw_response.list()
        return _Models.model_validate_json(response.content).data
    except (APIStatusError, ValidationError):
        return []
    except (APIConnectionError, ValueError) as error:
        raise EngineError(_unreachable(url, error)) from None


def _unreachable(url: str, error: Exception) -> str:
    return f"base_url must be reachable, but {url}: {one_line(error.__cause__ or error)}; start the server"


def _named(models: Sequence[ListedModel]) -> str:
    if not models:
        return "no list of models"
    names = ", ".join(model.id for model in models[:_MOST_NAMED])
    return names + f" and {len(models) - _MOST_NAMED} more" * (len(models) > _MOST_NAMED)


def _completion(reply: Reply) -> Completion:
    choice = reply.choices[0]
    tokens = reply.usage.completion_tokens if reply.usage else 0
    return Completion(choice.message.content or "", tokens, choice.finish_reason == "stop")


def _draw_body(draw: Draw, sampling: Sampling) -> dict[str, object]:
    body: dict[str, object] = {"max_tokens": sampling.max_new_tokens, "n": 1}
    if draw.seed is None:
        return {**body, "temperature": 0}
    # Servers keep seeds as signed 64-bit integers, JSON readers lose bits beyond 53.
    return {**body, "temperature": sampling.temperature, "top_p": 1, "seed": draw.seed % 2**53}


def _by_first_token(listed: Sequence[_TokenLogprob], choices: tuple[str, ...]) -> tuple[float, ...]:
    """Return the choices' log-probabilities by first token: a listed token counts for the one choice it begins."""
    masses = [0.0] * len(choices)
    for entry in listed:
        begun = [index for index, choice in enumerate(choices) if entry.token and choice.startswith(entry.token)]
        if len(begun) == 1:
            masses[begun[0]] += math.exp(entry.logprob)
    rest = max(1.0 - sum(math.exp(entry.logprob) for entry in listed), 1e-12)
    least = min(math.exp(entry.logprob) for entry in listed)
    return normalised([math.log(mass or max(min(rest, least), 1e-12)) for mass in masses])


def _is_overlong(text: str) -> bool:
    lowered = text.lower()
    return "context length" in lowered or "context_length" in lowered or "maximum model length" in lowered
