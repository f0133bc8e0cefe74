"""What every engine must do, asked of each: transformers (shared and expanded prompts), an HTTP server, vLLM.

Where vLLM is installed, its own server is asked too; elsewhere a stand-in for its interface takes its place.
"""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from mats_sql.agents.messages import Messages, user
from mats_sql.config import GenerationSettings
from mats_sql.errors import EngineError
from mats_sql.generation.draws import DrawingEngine
from mats_sql.generation.engine import Completion, Request, Sampling
from mats_sql.generation.open import open_engine
from mats_sql.generation.transformers_engine import TransformersEngine
from tests.generation.vllm_server import vllm_serving

WORDS = ["schools", "county", "order by name", "limit 10", "average", "students > 500", "which", "Alameda"]
REQUESTS = [
    Request(f"question-{index}", user(f"{index}: " + " ".join(WORDS[: 1 + index % 8] * (1 + index % 3))))
    for index in range(14)
]
SAMPLING = Sampling(n=4, temperature=1.0, max_new_tokens=12, seed=5)
CHOICES = ("yes", "no")
LONG = Request("long", user("schools " * 450))
HAS_VLLM = importlib.util.find_spec("vllm") is not None
VLLM = ["vllm", "vllm-serve"] if HAS_VLLM else ["vllm-stand-in"]
SUBJECTS = ["transformers-llama", "transformers-qwen2", "transformers-expanded", "openai", *VLLM]


@dataclass(frozen=True)
class Subject:
    """An engine under test: how to open it, and the checkpoint that stands behind it."""

    name: str
    checkpoint: Path
    settings: GenerationSettings
    model: Path | str
    reused: DrawingEngine | None = None

    def shown(self, text: str) -> str:
        """Return a text as the subject shows it: vLLM's server holds an unfinished character at the end back."""
        return text.rstrip("�") if self.name == "vllm-serve" else text

    def open(self, cache: Path | None = None, **settings: Any) -> DrawingEngine:
        """Open the engine, with some settings changed."""
        if self.reused is not None:
            return self.reused
        engine = open_engine(self.settings.model_copy(update=settings), self.model, cache=cache)
        assert isinstance(engine, DrawingEngine)
        if self.name == "transformers-expanded":
            assert isinstance(engine, TransformersEngine)
            with engine._loaded() as decoder:
                decoder._model.set_attn_implementation("sdpa")
                decoder._shared = False
        return engine


@pytest.fixture(scope="session")
def vllm_engine(llama: Path) -> Iterator[DrawingEngine]:
    """One vLLM for the whole session: starting it takes most of a minute."""
    engine = open_engine(GenerationSettings(engine="vllm", max_prompt_tokens=400), llama)
    assert isinstance(engine, DrawingEngine)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def vllm_server(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``vllm serve`` with the same checkpoint and limit."""
    limits = (
        "--served-model-name",
        "tiny",
        "--max-model-len",
        "412",
        "--dtype",
        "float32",
        "--generation-config",
        "vllm",
    )
    with vllm_serving(llama, tmp_path_factory.mktemp("served") / "log", limits) as address:
        yield address


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each engine in turn."""
    name = str(request.param)
    llama = request.getfixturevalue("llama")
    local = GenerationSettings(device="cpu", max_prompt_tokens=400)
    if name == "transformers-qwen2":
        qwen2 = request.getfixturevalue("qwen2")
        return Subject(name, qwen2, local, qwen2)
    if name == "openai":
        server = request.getfixturevalue("chat_server")
        settings = GenerationSettings(engine="openai", base_url=server.url, concurrency=4)
        return Subject(name, llama, settings, server.model_name)
    if name == "vllm-serve":
        address = request.getfixturevalue("vllm_server")
        return Subject(name, llama, GenerationSettings(engine="openai", base_url=address, concurrency=4), "tiny")
    if name == "vllm-stand-in":
        request.getfixturevalue("stand_in")
        return Subject(name, llama, GenerationSettings(engine="vllm", max_prompt_tokens=400), llama)
    if name == "vllm":
        engine = request.getfixturevalue("vllm_engine")
        return Subject(name, llama, GenerationSettings(engine="vllm"), llama, engine)
    return Subject(name, llama, local, llama)


@pytest.fixture
def engine(subject: Subject) -> Iterator[DrawingEngine]:
    """The engine with its default settings."""
    opened = subject.open()
    yield opened
    if subject.reused is None:
        opened.close()


@pytest.mark.skipif(HAS_VLLM, reason="vllm is installed and runs through the whole suite")
def test_vllm_is_asked_for_by_name_when_it_is_missing(llama: Path) -> None:
    with pytest.raises(EngineError, match=r"it is not installed; pip install 'mats-sql\[vllm\]'"):
        open_engine(GenerationSettings(engine="vllm"), llama)


def test_each_request_gets_n_completions_in_order_of_the_requests(engine: DrawingEngine) -> None:
    completions = engine.generate(REQUESTS, SAMPLING)
    assert [len(samples) for samples in completions] == [4] * len(REQUESTS)
    assert all(1 <= sample.token_count <= 12 for samples in completions for sample in samples)
    assert {sample.finished for samples in completions for sample in samples} == {True, False}


def test_the_order_of_requests_changes_nothing(engine: DrawingEngine) -> None:
    straight = engine.generate(REQUESTS, SAMPLING)
    assert engine.generate(REQUESTS[::-1], SAMPLING)[::-1] == straight


def test_what_else_is_in_the_batch_changes_nothing(engine: DrawingEngine) -> None:
    together = engine.generate(REQUESTS, SAMPLING)
    assert [engine.generate([request], SAMPLING)[0] for request in REQUESTS[:4]] == together[:4]


@pytest.mark.parametrize(
    "settings",
    [{"decode_rows": 1, "concurrency": 1}, {"decode_rows": 6, "batch_tokens": 100, "concurrency": 7}],
    ids=["one", "few"],
)
def test_the_batch_size_changes_nothing(subject: Subject, engine: DrawingEngine, settings: dict[str, int]) -> None:
    other = subject.open(**settings)
    assert other.generate(REQUESTS, SAMPLING) == engine.generate(REQUESTS, SAMPLING)


def test_fewer_samples_are_a_prefix_of_more(engine: DrawingEngine) -> None:
    two = engine.generate(REQUESTS, replace(SAMPLING, n=2))
    assert two == [samples[:2] for samples in engine.generate(REQUESTS, SAMPLING)]


def test_a_shorter_answer_is_a_prefix_of_a_longer_one(engine: DrawingEngine) -> None:
    short = engine.generate(REQUESTS, replace(SAMPLING, max_new_tokens=3))
    long = engine.generate(REQUESTS, SAMPLING)
    pairs = [(a, b) for few, many in zip(short, long, strict=True) for a, b in zip(few, many, strict=True)]
    assert all(b == a if a.finished else b.text.startswith(a.text.rstrip("�")) for a, b in pairs)


def test_sample_zero_is_greedy_and_the_seed_does_not_matter_to_it(engine: DrawingEngine) -> None:
    greedy = engine.generate(REQUESTS, Sampling(temperature=0, max_new_tokens=12, seed=1))
    assert [samples[0] for samples in engine.generate(REQUESTS, SAMPLING)] == [samples[0] for samples in greedy]


def test_without_greedy_first_sample_zero_is_drawn(engine: DrawingEngine) -> None:
    drawn = engine.generate(REQUESTS, replace(SAMPLING, greedy_first=False))
    greedy = engine.generate(REQUESTS, SAMPLING)
    assert [samples[1:] for samples in drawn] == [samples[1:] for samples in greedy]
    assert any(a[0] != b[0] for a, b in zip(drawn, greedy, strict=True))


def test_greedy_answers_equal_those_of_transformers_generate(
    subject: Subject, engine: DrawingEngine, reference: Callable[[Path], Any]
) -> None:
    greedy = engine.generate(REQUESTS, Sampling(temperature=0, max_new_tokens=12))
    expected = [reference(subject.checkpoint).greedy(request.messages, 12) for request in REQUESTS]
    assert [subject.shown(samples[0].text) for samples in greedy] == [subject.shown(text) for text in expected]


def test_equal_ids_draw_equally_and_different_ids_differently(engine: DrawingEngine) -> None:
    messages = REQUESTS[0].messages
    same, again, other = engine.generate([Request(name, messages) for name in ("a", "a", "b")], SAMPLING)
    assert same == again
    assert same[0] == other[0]
    assert same[1:] != other[1:]


def test_different_seeds_draw_differently(engine: DrawingEngine) -> None:
    assert engine.generate(REQUESTS, SAMPLING) != engine.generate(REQUESTS, replace(SAMPLING, seed=6))


def test_equal_work_is_computed_once(engine: DrawingEngine) -> None:
    before = engine.computed
    engine.generate([*REQUESTS, *REQUESTS], SAMPLING)
    assert engine.computed - before == len(REQUESTS) * SAMPLING.n


def test_a_listener_hears_how_many_of_all_draws_and_scores_are_done(engine: DrawingEngine) -> None:
    heard: list[tuple[int, int]] = []
    engine.on_drawn = lambda done, total: heard.append((done, total))
    engine.generate(REQUESTS, SAMPLING)
    engine.choice_logprobs(REQUESTS[:3], CHOICES)
    engine.on_drawn = None
    draws = len(REQUESTS) * SAMPLING.n
    assert heard == [*((done, draws) for done in range(1, draws + 1)), (1, 3), (2, 3), (3, 3)]


def test_choice_probabilities_sum_to_one(engine: DrawingEngine) -> None:
    scores = engine.choice_logprobs(REQUESTS, CHOICES)
    assert [sum(map(math.exp, row)) for row in scores] == pytest.approx([1.0] * len(REQUESTS))


def test_what_else_is_scored_changes_no_bit_of_a_score_on_a_cpu(subject: Subject, engine: DrawingEngine) -> None:
    if subject.settings.engine != "transformers":
        pytest.skip("how a server or vllm batches is its own")
    together = engine.choice_logprobs(REQUESTS, CHOICES)
    assert [engine.choice_logprobs([request], CHOICES)[0] for request in REQUESTS] == together


def test_choice_probabilities_are_those_of_a_plain_forward_pass(
    subject: Subject, engine: DrawingEngine, reference: Callable[[Path], Any]
) -> None:
    if subject.settings.engine == "openai":
        pytest.skip("a chat server lists only its most likely first tokens")
    choices = ("yes", "no", "Conclude: correct.")
    for request, row in zip(REQUESTS, engine.choice_logprobs(REQUESTS, choices), strict=True):
        plain = [reference(subject.checkpoint).logprob(request.messages, choice) for choice in choices]
        shifted = [value - math.log(sum(map(math.exp, plain))) for value in plain]
        assert row == pytest.approx(tuple(shifted), abs=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_first_tokens_are_drawn_with_the_models_probabilities(
    subject: Subject, engine: DrawingEngine, reference: Callable[[Path], Any], temperature: float
) -> None:
    messages = REQUESTS[3].messages
    count = 400 if subject.settings.engine == "openai" else 4000
    sampling = Sampling(n=1, temperature=temperature, max_new_tokens=1, greedy_first=False)
    drawn = engine.generate([Request(str(index), messages) for index in range(count)], sampling)
    observed = Counter(subject.shown(samples[0].text) for samples in drawn)
    probabilities: dict[str, float] = {}
    for text, probability in _text_probabilities(reference(subject.checkpoint), messages, temperature).items():
        probabilities[subject.shown(text)] = probabilities.get(subject.shown(text), 0.0) + probability
    assert _chi_square_p(observed, probabilities) > 1e-3


def test_a_prompt_over_the_limit_is_unanswered_and_named_never_truncated(engine: DrawingEngine) -> None:
    before = engine.overlong
    [unanswered, answered] = engine.generate([LONG, REQUESTS[0]], replace(SAMPLING, n=2))
    assert unanswered == (Completion("", 0, finished=False),) * 2
    assert answered[0].token_count > 0
    scored = replace(LONG, item_id="long, scored")
    assert engine.choice_logprobs([scored, LONG], CHOICES) == [pytest.approx((math.log(0.5), math.log(0.5)))] * 2
    assert engine.overlong == (*before, "long", "long, scored")


def test_a_refusal_counts_as_done_but_not_as_computed(engine: DrawingEngine) -> None:
    heard: list[tuple[int, int]] = []
    before = engine.computed
    engine.on_drawn = lambda done, total: heard.append((done, total))
    engine.generate([LONG, REQUESTS[0]], Sampling(temperature=0, max_new_tokens=4))
    engine.on_drawn = None
    assert heard == [(1, 2), (2, 2)]
    assert engine.computed == before + 1


def test_a_refusal_is_not_cached(subject: Subject, tmp_path: Path) -> None:
    if subject.reused is not None:
        pytest.skip("one vllm serves the session; the cache is the same code for every engine")
    for _ in range(2):
        engine = subject.open(cache=tmp_path / "cache.sqlite")
        engine.generate([LONG], SAMPLING)
        engine.choice_logprobs([replace(LONG, item_id="scored")], CHOICES)
        assert engine.overlong == ("long", "scored")
        engine.close()


def test_a_cached_answer_is_identical_and_nothing_is_computed(subject: Subject, tmp_path: Path) -> None:
    if subject.reused is not None:
        pytest.skip("one vllm serves the session; the cache is the same code for every engine")
    first = subject.open(cache=tmp_path / "cache.sqlite")
    expected = (first.generate(REQUESTS, SAMPLING), first.choice_logprobs(REQUESTS, CHOICES))
    first.close()
    second = subject.open(cache=tmp_path / "cache.sqlite")
    assert (second.generate(REQUESTS, SAMPLING), second.choice_logprobs(REQUESTS, CHOICES)) == expected
    assert second.computed == 0
    second.close()


def test_a_larger_n_computes_only_the_missing_samples(subject: Subject, tmp_path: Path) -> None:
    if subject.reused is not None:
        pytest.skip("one vllm serves the session; the cache is the same code for every engine")
    engine = subject.open(cache=tmp_path / "cache.sqlite")
    engine.generate(REQUESTS, replace(SAMPLING, n=2))
    before = engine.computed
    cached = engine.generate(REQUESTS, SAMPLING)
    assert engine.computed - before == 2 * len(REQUESTS)
    assert cached == subject.open().generate(REQUESTS, SAMPLING)
    engine.close()


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (Sampling(n=2, temperature=0), "n must be 1 at temperature 0, but got n=2"),
        (Sampling(n=0), "must be at least 1, but got n=0"),
        (Sampling(temperature=-1.0), "must not be negative, but got -1.0"),
    ],
)
def test_a_sampling_without_meaning_is_refused(engine: DrawingEngine, sampling: Sampling, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        engine.generate(REQUESTS, sampling)


def test_no_requests_give_no_completions(engine: DrawingEngine) -> None:
    assert engine.generate([], SAMPLING) == []
    assert engine.choice_logprobs([], CHOICES) == []


def _text_probabilities(reference: Any, messages: Messages, temperature: float) -> dict[str, float]:
    """Sum the first token's probabilities over tokens that read alike (stop tokens read as nothing)."""
    probabilities: dict[str, float] = {}
    for token, probability in enumerate(reference.first_logprobs(messages, temperature).exp().tolist()):
        text = reference.tokenizer.decode([token], skip_special_tokens=True)
        probabilities[text] = probabilities.get(text, 0.0) + probability
    return probabilities


def _chi_square_p(observed: Counter[str], probabilities: dict[str, float]) -> float:
    """Return the p-value of the counts; texts expected fewer than five times are pooled."""
    count = observed.total()
    often = [text for text, probability in probabilities.items() if probability * count >= 5]
    counts = [observed[text] for text in often]
    expected = [probabilities[text] * count for text in often]
    counts.append(count - sum(counts))
    expected.append(count - sum(expected))
    return float(stats.chisquare(counts, expected).pvalue)
