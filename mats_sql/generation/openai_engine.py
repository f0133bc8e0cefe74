"""The engine for any OpenAI-compatible server over HTTP: vLLM's own, a gateway, or a hosted model.

Every draw is one request with its own seed and ``n`` 1, so that a larger ``n`` only adds requests. Whether equal seeds
give equal answers is the server's promise, not ours: with a server that ignores seeds, the cache is what makes a rerun
repeat itself.

Choices are scored by the log-probability of their first token, as far as the server lists it (``top_logprobs`` 20): the
chat interface scores no given text. So choices must differ in their first token; one that is not listed gets
what the listed ones leave over, at most the least likely listed token's share.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import requests
from pydantic import BaseModel, Field, ValidationError

from mats_sql.agents.messages import Messages, as_dicts
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError
from mats_sql.generation.cache import CompletionCache
from mats_sql.generation.draws import Draw, DrawingEngine, normalised
from mats_sql.generation.engine import Completion, Sampling

_TOP_LOGPROBS = 20
_RETRIED_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504})
_CONNECT_S = 10.0
_JSON = {"Content-Type": "application/json"}


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


class _Reply(BaseModel):
    """What is read of a chat completion; servers may add fields."""

    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A server's word that it will not answer this prompt."""

    status: int
    reason: str


class OpenAIEngine(DrawingEngine):
    """Draw from a model behind ``generation.base_url`` (…/v1), at most ``concurrency`` requests at once.

    A request that fails with 408, 409, 429, 5xx or in transport is sent again with exponentially growing, jittered
    pauses (or after the server's ``Retry-After``). A prompt that the server finds too long is data that failed, as in
    the other engines: an empty, unfinished completion, counted in ``overlong_prompts``.
    """

    def __init__(self, settings: GenerationSettings, model: str, cache: CompletionCache | None = None) -> None:
        """Connect. Raises :class:`EngineError` if ``base_url`` is not set or the server does not answer."""
        super().__init__(cache)
        if settings.base_url is None:
            raise EngineError("generation.base_url must be set for the openai engine; e.g. http://localhost:8000/v1")
        self.overlong_prompts = 0
        self._settings = settings
        self._model = model
        self._url = settings.base_url.rstrip("/")
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=settings.concurrency)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        key = os.environ.get(settings.api_key_variable)
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"
        self._greet()

    def close(self) -> None:
        """Close the connections and the cache."""
        super().close()
        self._session.close()

    def _complete(self, draws: Sequence[Draw], sampling: Sampling) -> Iterator[tuple[Draw, Completion]]:
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            asked = {pool.submit(self._ask, draw.messages, _draw_body(draw, sampling)): draw for draw in draws}
            for future in _completed(asked):
                yield asked[future], self._completion(future.result())

    def _score(
        self, prompts: Sequence[Messages], choices: tuple[str, ...]
    ) -> Iterator[tuple[Messages, tuple[float, ...]]]:
        body: dict[str, object] = {"temperature": 0, "max_tokens": 1, "logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            asked = {pool.submit(self._ask, messages, body): messages for messages in prompts}
            for future in _completed(asked):
                yield asked[future], self._choices(future.result(), choices)

    def _completion(self, reply: _Reply | _Refusal) -> Completion:
        if isinstance(reply, _Refusal):
            self.overlong_prompts += 1
            return Completion("", 0, finished=False)
        choice = reply.choices[0]
        tokens = reply.usage.completion_tokens if reply.usage else 0
        return Completion(choice.message.content or "", tokens, choice.finish_reason == "stop")

    def _choices(self, reply: _Reply | _Refusal, choices: tuple[str, ...]) -> tuple[float, ...]:
        if isinstance(reply, _Refusal):
            self.overlong_prompts += 1
            return normalised([0.0] * len(choices))
        logprobs = reply.choices[0].logprobs
        if logprobs is None or not logprobs.content or not logprobs.content[0].top_logprobs:
            message = f"scoring needs a server that returns top_logprobs, but {self._url} does not; use another engine"
            raise EngineError(message)
        return _by_first_token(logprobs.content[0].top_logprobs, choices)

    def _greet(self) -> None:
        """Fail early and in one line when no server answers; any answer will do, since not all list their models."""
        try:
            self._session.get(f"{self._url}/models", timeout=_CONNECT_S)
        except (requests.RequestException, ValueError) as error:
            raise EngineError(self._unreachable(error)) from None

    def _ask(self, messages: Messages, body: Mapping[str, object]) -> _Reply | _Refusal:
        """Send one chat request, again where that may help."""
        document = {"model": self._model, "messages": as_dicts(messages), **body}
        problem = ""
        for attempt in range(self._settings.attempts):
            pause_s = 0.0
            try:
                response = self._session.post(
                    f"{self._url}/chat/completions",
                    data=json.dumps(document),
                    headers=_JSON,
                    timeout=(_CONNECT_S, self._settings.timeout_s),
                )
            except requests.RequestException as error:
                problem = self._unreachable(error)
            else:
                if response.status_code not in _RETRIED_STATUS:
                    return self._read(response)
                problem = f"{self._url} must answer, but said {response.status_code}: {_line(response.text)}"
                pause_s = _retry_after_s(response)
            if attempt + 1 < self._settings.attempts:
                # Jitter spreads the requests that failed together; it decides nothing else.
                time.sleep(pause_s or min(30.0, 0.25 * 2**attempt) * random.uniform(0.5, 1.0))
        raise EngineError(f"{problem}; tried {self._settings.attempts} times")

    def _read(self, response: requests.Response) -> _Reply | _Refusal:
        if response.status_code == 400 and _is_overlong(response.text):
            return _Refusal(response.status_code, _line(response.text))
        if response.status_code != 200:
            raise EngineError(
                f"{self._url} must accept requests for {self._model!r}, but said {response.status_code}: "
                f"{_line(response.text)}; check the model's name and {self._settings.api_key_variable}"
            )
        try:
            return _Reply.model_validate_json(response.content)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            message = f"{self._url} must answer with a chat completion, but: {problem}; is it OpenAI-compatible?"
            raise EngineError(message) from None

    def _unreachable(self, error: Exception) -> str:
        return f"base_url must be reachable, but {self._url}: {_line(str(error))}; start the server"


def _draw_body(draw: Draw, sampling: Sampling) -> dict[str, object]:
    body: dict[str, object] = {"max_tokens": sampling.max_new_tokens, "n": 1}
    if draw.seed is None:
        return {**body, "temperature": 0}
    # Servers keep seeds as signed 64-bit integers, JSON readers lose bits beyond 53.
    return {**body, "temperature": sampling.temperature, "top_p": 1, "seed": draw.seed % 2**53}


def _completed(futures: Mapping[Future[_Reply | _Refusal], object]) -> Iterator[Future[_Reply | _Refusal]]:
    """Yield futures as they end; cancel the rest when the reader stops or one has failed."""
    try:
        yield from as_completed(futures)
    finally:
        for future in futures:
            future.cancel()


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


def _retry_after_s(response: requests.Response) -> float:
    try:
        return min(60.0, max(0.0, float(response.headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
