"""How fast engines draw and score on one GPU: ours, and vLLM's own calls on the same LLM beside them."""

from __future__ import annotations

import importlib.util
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch
from gpu_table import Row, Size
from orpo import peak_memory

from mats_sql.agents.messages import user
from mats_sql.config import GenerationSettings
from mats_sql.generation.draws import Draw
from mats_sql.generation.engine import Engine, Request, Sampling
from mats_sql.generation.open import open_engine
from mats_sql.generation.vllm_engine import VllmEngine, _parameters, scoring_of
from mats_sql.shapes import write_untrained

CHOICES = ("yes", "no")
SKIPPED = "vllm is not installed: skipped"
ROUNDS = 5
"""How often vLLM's own calls and ours follow one another, each on prompts of its own."""


def transformers_rates(size: Size, name: str, work: Path) -> Iterator[Row]:
    """Yield the rates of our transformers engine; benchmarks/generation.py has ``generate`` beside it."""
    engine = open_engine(generation(size, "transformers"), _checkpoint(size, name, work))
    _warm(engine, size)
    with peak_memory(size.device) as peak:
        rate = _draws(engine, size, "draws")
    yield Row("transformers draws", "ours", rate, peak_mib=peak[0])
    with peak_memory(size.device) as peak:
        rate = _scores(engine, size, "scores")
    yield Row("transformers scores", "ours", rate, "prompts/s", peak_mib=peak[0])
    engine.close()


def vllm_rates(size: Size, name: str, work: Path) -> Iterator[Row]:
    """Yield the rates of raw vLLM and of our engine around the same LLM, in turn: medians, and the median of ratios.

    Drawing is from texts to texts for both, and once more from tokens to tokens, which no user has; the raw scoring has
    its tokens given.
    """
    if not _has_vllm():
        yield Row("vllm", "–", note=SKIPPED)
        return
    engine, seconds = _started(size, _checkpoint(size, name, work), compiled=True)
    yield Row("vllm starts", "ours", seconds, "s", note="with its first answers")
    drawing = {"LLM.generate": _raw_draws, "LLM.generate, tokens to tokens": _raw_token_draws, "ours": _draws}
    yield from _in_turn(engine, size, "vllm draws", "tokens/s", drawing)
    yield from _in_turn(engine, size, "vllm scores", "prompts/s", {"one batched request": _raw_scores, "ours": _scores})
    engine.close()
    plain, seconds = _started(size, _checkpoint(size, name, work), compiled=False)
    yield Row("vllm starts", "ours", seconds, "s", note="not compiled, with its first answers")
    plain.close()


def vllm_rates_of(size: Size, name: str, work: Path) -> Iterator[Row]:
    """Yield the rates of our vLLM engine at one shape, medians of rounds: what a run's hours are counted from."""
    if not _has_vllm():
        yield Row(f"vllm {name}", "–", note=SKIPPED)
        return
    engine, seconds = _started(size, _checkpoint(size, name, work), compiled=True)
    yield Row(f"vllm starts {name}", "ours", seconds, "s", note="with its first answers")
    for what, unit, rate in (("draws", "tokens/s", _draws), ("scores", "prompts/s", _scores)):
        part = f"vllm {what} {name}"
        yield from _in_turn(engine, size, part, unit, {"ours": rate}, rounds=3)
    engine.close()


def _has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None


def _started(size: Size, checkpoint: Path, *, compiled: bool) -> tuple[VllmEngine, float]:
    """Return a vLLM that has answered, and the seconds until then."""
    settings = generation(size, "vllm").model_copy(update={"compiled": compiled})
    engine = open_engine(settings, checkpoint)
    assert isinstance(engine, VllmEngine)
    began = time.perf_counter()
    _warm(engine, size)
    return engine, time.perf_counter() - began


def _in_turn(
    engine: VllmEngine,
    size: Size,
    part: str,
    unit: str,
    rates: Mapping[str, Callable[[VllmEngine, Size, str], float]],
    rounds: int = ROUNDS,
) -> Iterator[Row]:
    """Yield each system's rate, medians of rounds in which they follow one another; the first is the reference."""
    found: dict[str, list[float]] = {system: [] for system in rates}
    for number in range(rounds):
        for system, rate in rates.items():
            found[system].append(rate(engine, size, f"{part} {system} {number}"))
    [reference, *_] = found.values()
    for system, measured in found.items():
        ratios = [own / theirs for own, theirs in zip(measured, reference, strict=True)]
        told = "" if measured is reference else f"{rounds} rounds, {min(ratios):.2f} to {max(ratios):.2f}"
        over = median(ratios) if len(rates) > 1 else None
        yield Row(part, system, median(measured), unit, over=over, note=told)


def _warm(engine: Engine, size: Size) -> None:
    engine.generate(_requests(size, "warm")[:1], Sampling(temperature=0, max_new_tokens=2))
    engine.choice_logprobs(_requests(size, "warm")[:1], CHOICES)


def _draws(engine: Engine, size: Size, kind: str) -> float:
    """Return how many tokens a second an engine draws."""
    requests, sampling = _requests(size, kind), Sampling(n=size.samples, temperature=1.0, max_new_tokens=size.answer)
    began = time.perf_counter()
    drawn = engine.generate(requests, sampling)
    seconds = time.perf_counter() - began
    return sum(sample.token_count for samples in drawn for sample in samples) / seconds


def _scores(engine: Engine, size: Size, kind: str) -> float:
    """Return how many prompts a second an engine scores."""
    requests = _requests(size, kind)
    began = time.perf_counter()
    engine.choice_logprobs(requests, CHOICES)
    return size.prompts / (time.perf_counter() - began)


def _raw_draws(engine: VllmEngine, size: Size, kind: str) -> float:
    texts = [engine._tokens._render(request.messages) for request in _requests(size, kind)]
    return _generated(engine, size, texts, detokenize=True)


def _raw_token_draws(engine: VllmEngine, size: Size, kind: str) -> float:
    prompts = engine._tokens.prompts([request.messages for request in _requests(size, kind)])
    return _generated(engine, size, [{"prompt_token_ids": list(ids)} for ids in prompts], detokenize=False)


def _generated(engine: VllmEngine, size: Size, prompts: Sequence[object], *, detokenize: bool) -> float:
    """Return how many tokens a second ``LLM.generate`` draws, a request per draw as ours."""
    sampling, stop_ids = Sampling(max_new_tokens=size.answer), sorted(engine._tokens.stop_ids)
    drawing = [_parameters(Draw((), index), sampling, stop_ids) for index in range(size.samples)]
    for parameters in drawing:
        parameters.detokenize = detokenize
    asked, parameters_of_all = [prompt for prompt in prompts for _ in drawing], drawing * len(prompts)
    began = time.perf_counter()
    with engine._base.loaded(None) as llm:
        outputs = llm.generate(asked, parameters_of_all, use_tqdm=False)
    seconds = time.perf_counter() - began
    return sum(len(output.outputs[0].token_ids) for output in outputs) / seconds


def _raw_scores(engine: VllmEngine, size: Size, kind: str) -> float:
    requests = _requests(size, kind)
    scoring = scoring_of(engine._tokens.choices(requests[0].messages, CHOICES))
    unscored = engine._tokens.prompts([request.messages for request in requests])
    asked = [list(ids) for prompt in unscored for ids in scoring.prompts(prompt)]
    began = time.perf_counter()
    engine._run(asked, [scoring.parameters()] * len(asked))
    return size.prompts / (time.perf_counter() - began)


def generation(size: Size, engine: str) -> GenerationSettings:
    """Return the settings of an engine that takes prompts and answers of a size."""
    device = "auto" if size.device == "cuda" else "cpu"
    limits = {"max_prompt_tokens": 2 * size.prompt, "plan_tokens": size.answer}
    return GenerationSettings.model_validate({"engine": engine, "device": device, "dtype": size.dtype, **limits})


def _checkpoint(size: Size, name: str, work: Path) -> Path:
    """Return a checkpoint of a shape, written at the first call; what made it has no memory of the card left."""
    folder = work / f"checkpoint-{name}"
    if not folder.exists():
        shape = size.shapes[name]
        write_untrained(folder, shape, [_words(index, 200) for index in range(50)], seed=0, device=size.device)
        torch.cuda.empty_cache()
        _name_every_token(folder / "tokenizer.json", shape.vocabulary)
    return folder


def _name_every_token(tokenizer: Path, vocabulary: int) -> None:
    """Give every row of the vocabulary a word, as a trained model's answers have.

    Random weights draw any of them, and vLLM decodes a token without text, prompt and all, again with every next one.
    """
    content = json.loads(tokenizer.read_text())
    known = content["model"]["vocab"]
    taken = {*known.values(), *(token["id"] for token in content["added_tokens"])}
    known.update({f"\u0120t{row}": row for row in range(vocabulary) if row not in taken})
    tokenizer.write_text(json.dumps(content))


def _requests(size: Size, kind: str) -> list[Request]:
    """Return prompts of about ``size.prompt`` tokens that begin differently, so that none is another's prefix."""
    names = [f"{kind} {index}" for index in range(size.prompts)]
    return [Request(name, user(f"{name}: {_words(name, size.prompt // 2)}")) for name in names]


def _words(seed: int | str, count: int) -> str:
    """Return words that the tokenizer of :func:`_checkpoint` takes for two tokens each."""
    chance = random.Random(str(seed))
    return " ".join(f"{chance.choice('abcdefgh')}{chance.randrange(10)}" for _ in range(count))
