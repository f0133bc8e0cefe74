"""What one GPU does here, in ten minutes and one table: training beside TRL, drawing beside vLLM, a team, pretraining.

    python benchmarks/gpu.py             one GPU, bfloat16, the shapes of Qwen2.5-Coder 0.5B and 3B
    python benchmarks/gpu.py --small     tiny shapes on a CPU, about a minute: does the code run?

Nothing is downloaded: weights are random, of published shapes, made on the spot. Training takes whole steps (forward,
backward, clipping, AdamW) on full weights; the first is not timed. Tokens of ORPO are those of both sequences of a
pair, shared or not, and MFU is 6 x parameters x tokens a second over the card's dense bfloat16 peak: sharing a prompt
counts as speed. Memory is what a part took at its peak, weights included, beside what `doctor` says of that step. A
part that does not fit, does not start, or for which no time is left, is a line that says so. Pretraining of the lab's
base runs on the CPU wherever it runs.
"""

from __future__ import annotations

import importlib.util
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import torch
from datasets import Dataset
from orpo import MIB, Bench, peak_memory, random_pair, timed, with_a_word_per_token
from trl import SFTConfig, SFTTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from mats_sql.agents.messages import user
from mats_sql.agents.names import AGENTS
from mats_sql.benchmark.bird import read_bird
from mats_sql.config import (
    BenchmarkSettings,
    GenerationSettings,
    LabSettings,
    OrpoSettings,
    Policy,
    PretrainSettings,
    SftSettings,
    TrainerSettings,
)
from mats_sql.doctor.memory import training_memory
from mats_sql.errors import MatsError
from mats_sql.generation.draws import Draw
from mats_sql.generation.engine import Engine, Request, Sampling
from mats_sql.generation.open import open_engine
from mats_sql.generation.vllm_engine import VllmEngine, _parameters, scoring_of
from mats_sql.lab.base import base_model_path
from mats_sql.lab.generator import write_lab
from mats_sql.lab.pretraining import pretrain
from mats_sql.pipeline.questions import source
from mats_sql.preference.pair import PreferencePair
from mats_sql.shapes import ModelShape, published, random_qwen2, write_untrained
from mats_sql.team.folder import TeamSettings, open_team, write_team
from mats_sql.training.encoding import encode_answers
from mats_sql.training.model_files import BaseModel
from mats_sql.training.orpo import encode_pairs, orpo_trainer
from mats_sql.training.running import Workplace
from mats_sql.training.sft import sft_trainer

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "4090": 165.0}
"""Dense bfloat16 peaks by a word of the card's name, as their maker publishes them."""
COLUMNS = ("part", "system", "rate", "MFU", "peak GiB", "doctor's GiB", "over the reference")
CHOICES = ("yes", "no")
STEPS = 3
LONGEST = 100_000


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    shapes: dict[str, ModelShape]
    batch: dict[str, int]
    prompt: int
    answer: int
    prompts: int
    samples: int
    questions: int
    pretraining: PretrainSettings
    device: str
    dtype: str


@dataclass(frozen=True)
class Row:
    """One line of the table; ``told_mib`` is `doctor`'s estimate, ``over`` the rate over that of the reference."""

    part: str
    system: str
    rate: float | None = None
    unit: str = "tokens/s"
    mfu: float | None = None
    peak_mib: float | None = None
    told_mib: float | None = None
    over: float | None = None
    note: str = ""


Part = Callable[[], Iterator[Row]]


def full() -> Size:
    """Return the sizes for a GPU."""
    shapes = {name: _published(name) for name in ("0.5B", "3B")}
    pretraining = PretrainSettings(copy_steps=0, warmup_steps=10, examples=2 * 12 * 226, review_examples=0)
    return Size(shapes, {"0.5B": 8, "3B": 4}, 1700, 200, 64, 8, 64, pretraining, "cuda", "bfloat16")


def small() -> Size:
    """Return the sizes for trying the code on a CPU."""
    shape = replace(
        _published("0.5B"), width=64, feed_forward=128, layers=2, heads=2, key_heads=1, head_size=32, vocabulary=512
    )
    pretraining = PretrainSettings(
        copy_steps=0, warmup_steps=1, examples=2 * 4 * 76, review_examples=0, batch_size=4, width=64, layers=2
    )
    return Size({"tiny": shape}, {"tiny": 2}, 96, 16, 64, 4, 4, pretraining, "cpu", "float32")


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--small", "is_small", is_flag=True, help="Tiny shapes on the CPU, to try the code.")
@click.option("--minutes", type=float, default=10.0, show_default=True, help="Begin no further part after this long.")
@click.option("--only", default="", help="Parts whose names begin so, e.g. orpo,sft.")
def main(is_small: bool, minutes: float, only: str) -> None:
    """Measure every part and print the table."""
    if not is_small and not torch.cuda.is_available():
        raise click.UsageError("a GPU must be there, but torch sees none; give --small to try the code on the CPU")
    size, end = small() if is_small else full(), time.monotonic() + 60 * minutes
    click.echo(f"{_machine(size)}, torch {torch.__version__}, prompts of {size.prompt} and answers of {size.answer}\n")
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, part in _parts(size, Path(folder)).items():
            if name.startswith(tuple(only.split(","))):
                found += _kept(name, part, end)
    click.echo(f"\n| {' | '.join(COLUMNS)} |\n|---|---|---:|---:|---:|---:|---:|")
    for row in found:
        click.echo(_line(row))


def _parts(size: Size, work: Path) -> dict[str, Part]:
    training: dict[str, Part] = {}
    for name in size.shapes:
        training[f"orpo {name}"] = partial(_training, f"orpo {name}", name, size, work, (_trls_orpo, _our_orpo))
        training[f"sft {name}"] = partial(_training, f"sft {name}", name, size, work, (_trls_sft, _our_sft))
    return {
        **training,
        "transformers": partial(_transformers, size, work),
        "vllm": partial(_vllm, size, work),
        "team": partial(_team, size, work),
        "pretraining": partial(_pretraining, size, work),
    }


def _kept(name: str, part: Part, end: float) -> list[Row]:
    """Return a part's rows; what does not fit into memory or time is a row too."""
    if time.monotonic() > end:
        return [Row(name, "–", note="no time left")]
    rows: list[Row] = []
    try:
        for row in part():
            rows.append(row)
            click.echo(_line(row))
    except torch.cuda.OutOfMemoryError:
        rows.append(Row(name, "–", note="out of memory"))
    except MatsError as error:
        rows.append(Row(name, "–", note=str(error)))
    return rows


# Training


def _training(part: str, name: str, size: Size, work: Path, systems: Sequence[Callable[..., object]]) -> Iterator[Row]:
    """Yield TRL's rate and ours, of the same model, data and batch."""
    shape, bench = size.shapes[name], Bench(size.device, time.perf_counter, STEPS, work)
    sequences = 2 if part.startswith("orpo") else 1
    tokens = sequences * size.batch[name] * (size.prompt + size.answer)
    reference = None
    for system, trainer_of in zip(("TRL", "ours"), systems, strict=True):
        try:
            with peak_memory(size.device) as peak:
                base = _base(shape, size)
                step_s, _ = timed(trainer_of(base, size, name, work), bench)
        except torch.cuda.OutOfMemoryError:
            yield Row(part, system, note="out of memory")
            continue
        rate = tokens / step_s
        reference = rate if system == "TRL" else reference
        over = None if reference is None else rate / reference
        estimate = _estimated_mib(part, size, name) if system == "ours" else None
        yield Row(
            part, system, rate, mfu=_mfu(6 * shape.parameters * rate), peak_mib=peak[0], told_mib=estimate, over=over
        )
        del base


def _estimated_mib(part: str, size: Size, name: str) -> float:
    """Return what `doctor` says that a training's step takes; ORPO's two answers share their prompt."""
    settings: TrainerSettings = (OrpoSettings if part.startswith("orpo") else SftSettings)(**_settings(size, name))
    tokens = size.prompt + size.answer * (2 if part.startswith("orpo") else 1)
    found = training_memory(size.shapes[name], settings, size.batch[name] * tokens, card=size.device == "cuda")
    return found.total / MIB


def _our_orpo(base: BaseModel, size: Size, name: str, work: Path) -> object:
    settings = OrpoSettings(**_settings(size, name))
    pairs, _ = encode_pairs(base.tokenizer, _pairs(base, size, name), LONGEST)
    return orpo_trainer(base, pairs, [], settings, Workplace(work, None), seed=0)


def _our_sft(base: BaseModel, size: Size, name: str, work: Path) -> object:
    turns = [(pair.chosen_prompt, pair.chosen) for pair in _pairs(base, size, name)]
    settings = SftSettings(**_settings(size, name))
    return sft_trainer(base, encode_answers(base.tokenizer, turns), settings, Workplace(work, None), 0)


def _trls_orpo(base: BaseModel, size: Size, name: str, work: Path) -> object:
    texts = [
        {"prompt": _text(pair), "chosen": pair.chosen, "rejected": pair.rejected} for pair in _pairs(base, size, name)
    ]
    config = ORPOConfig(beta=OrpoSettings().beta, max_length=LONGEST, **_trls_settings(size, name, work))
    data = Dataset.from_list(texts)
    return ORPOTrainer(model=base.model, args=config, train_dataset=data, processing_class=base.tokenizer)


def _trls_sft(base: BaseModel, size: Size, name: str, work: Path) -> object:
    texts = [{"prompt": _text(pair), "completion": pair.chosen} for pair in _pairs(base, size, name)]
    config = SFTConfig(max_length=None, completion_only_loss=True, **_trls_settings(size, name, work))
    data = Dataset.from_list(texts)
    return SFTTrainer(model=base.model, args=config, train_dataset=data, processing_class=base.tokenizer)


def _settings(size: Size, name: str) -> dict[str, object]:
    checkpointing = name == "3B"
    return {"batch_size": size.batch[name], "max_tokens": LONGEST, "gradient_checkpointing": checkpointing}


def _trls_settings(size: Size, name: str, work: Path) -> dict[str, object]:
    return {
        "output_dir": str(work),
        "per_device_train_batch_size": size.batch[name],
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "use_cpu": size.device == "cpu",
        "bf16": size.device != "cpu",
        "gradient_checkpointing": name == "3B",
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
    }


def _pairs(base: BaseModel, size: Size, name: str) -> list[PreferencePair]:
    """Return a run's pairs of random words, one token each; the end token makes an answer ``size.answer`` long."""
    words = base.model.config.vocab_size
    return [random_pair(index, size.prompt, size.answer, words) for index in range(STEPS * size.batch[name])]


def _text(pair: PreferencePair) -> str:
    return pair.chosen_prompt[0].content + " "


def _base(shape: ModelShape, size: Size) -> BaseModel:
    """Return a model with random float32 weights, as training holds them, and a tokenizer of one word per token."""
    return with_a_word_per_token(random_qwen2(shape, seed=0, dtype=torch.float32, device=size.device))


# Drawing and scoring


def _transformers(size: Size, work: Path) -> Iterator[Row]:
    """Yield the rates of our transformers engine; benchmarks/generation.py has ``generate`` beside it."""
    engine = open_engine(_generation(size, "transformers"), _checkpoint(size, work))
    yield from _rates("transformers", engine, size)
    engine.close()


def _vllm(size: Size, work: Path) -> Iterator[Row]:
    """Yield the rates of raw ``LLM.generate`` and of our engine around the same LLM, each on prompts of its own.

    Drawing is from texts to texts for both; the raw scoring has its tokens given.
    """
    if importlib.util.find_spec("vllm") is None:
        yield Row("vllm", "–", note="vllm is not installed: skipped")
        return
    engine = open_engine(_generation(size, "vllm"), _checkpoint(size, work))
    assert isinstance(engine, VllmEngine)
    engine.generate(_requests(size, "warm")[:1], Sampling(temperature=0, max_new_tokens=2))
    engine.choice_logprobs(_requests(size, "warm")[:1], CHOICES)
    texts = [engine._tokens._render(request.messages) for request in _requests(size, "raw")]
    sampling, stop_ids = Sampling(max_new_tokens=size.answer), sorted(engine._tokens.stop_ids)
    drawing = [_parameters(Draw((), index), sampling, stop_ids) for index in range(size.samples)]
    for parameters in drawing:
        parameters.detokenize = True
    began = time.perf_counter()
    with engine._base.loaded(None) as llm:
        outputs = llm.generate([text for text in texts for _ in drawing], drawing * len(texts), use_tqdm=False)
    raw = sum(len(output.outputs[0].token_ids) for output in outputs) / (time.perf_counter() - began)
    yield Row("vllm draws", "LLM.generate", raw, over=1.0)
    scoring = scoring_of(engine._tokens.choices(_requests(size, "raw")[0].messages, CHOICES))
    unscored = engine._tokens.prompts([request.messages for request in _requests(size, "raw scores")])
    asked = [list(ids) for prompt in unscored for ids in scoring.prompts(prompt)]
    began = time.perf_counter()
    engine._run(asked, [scoring.parameters()] * len(asked))
    batched = size.prompts / (time.perf_counter() - began)
    yield Row("vllm scores", "one batched request", batched, "prompts/s", over=1.0)
    for row, reference in zip(_rates("vllm", engine, size), (raw, batched), strict=True):
        assert row.rate is not None
        yield replace(row, over=row.rate / reference)
    engine.close()


def _rates(name: str, engine: Engine, size: Size) -> Iterator[Row]:
    """Yield how many tokens a second an engine draws and how many prompts it scores, the loading left out."""
    engine.generate(_requests(size, "warm")[:1], Sampling(temperature=0, max_new_tokens=2))
    sampling = Sampling(n=size.samples, temperature=1.0, max_new_tokens=size.answer)
    with peak_memory(size.device) as peak:
        began = time.perf_counter()
        drawn = engine.generate(_requests(size, "draws"), sampling)
        tokens = sum(sample.token_count for samples in drawn for sample in samples)
        rate = tokens / (time.perf_counter() - began)
    yield Row(f"{name} draws", "ours", rate, peak_mib=peak[0] if name == "transformers" else None)
    with peak_memory(size.device) as peak:
        began = time.perf_counter()
        engine.choice_logprobs(_requests(size, "scores"), CHOICES)
        rate = size.prompts / (time.perf_counter() - began)
    yield Row(f"{name} scores", "ours", rate, "prompts/s", peak_mib=peak[0] if name == "transformers" else None)


def _generation(size: Size, engine: str) -> GenerationSettings:
    device = "auto" if size.device == "cuda" else "cpu"
    limits = {"max_prompt_tokens": 2 * size.prompt, "plan_tokens": size.answer}
    return GenerationSettings.model_validate({"engine": engine, "device": device, "dtype": size.dtype, **limits})


def _checkpoint(size: Size, work: Path) -> Path:
    """Return a checkpoint of the smallest shape, written at the first call."""
    folder = work / "checkpoint"
    if not folder.exists():
        write_untrained(folder, next(iter(size.shapes.values())), [_words(index, 200) for index in range(50)], seed=0)
    return folder


def _requests(size: Size, kind: str) -> list[Request]:
    """Return prompts of about ``size.prompt`` tokens that begin differently, so that none is another's prefix."""
    names = [f"{kind} {index}" for index in range(size.prompts)]
    return [Request(name, user(f"{name}: {_words(name, size.prompt // 2)}")) for name in names]


def _words(seed: int | str, count: int) -> str:
    """Return words that the tokenizer of :func:`_checkpoint` takes for two tokens each."""
    chance = random.Random(str(seed))
    return " ".join(f"{chance.choice('abcdefgh')}{chance.randrange(10)}" for _ in range(count))


# The whole


def _team(size: Size, work: Path) -> Iterator[Row]:
    """Yield how fast five agents, all with the lab's base model, answer the lab's questions."""
    settings = TeamSettings(
        policy=Policy(k=size.samples),
        generation=_generation(replace(size, prompt=2048, answer=192), "transformers").model_copy(
            update={"loaded_models": len(AGENTS)}
        ),
    )
    lab = work / "lab"
    write_lab(lab, LabSettings(train_questions=1, dev_questions=size.questions, dev_databases=1))
    benchmark = read_bird(lab, "dev")
    ids = [question.question_id for question in benchmark.questions]
    tasks = list(source(benchmark, ids, BenchmarkSettings()).tasks.values())
    write_team(work / "team", {agent: base_model_path() for agent in AGENTS}, settings)
    with ExitStack() as resources, peak_memory(size.device) as peak:
        team = open_team(work / "team", resources)
        began = time.perf_counter()
        answers = team.answer_many(tasks)
        rate = len(answers) / (time.perf_counter() - began)
    yield Row("team of five, lab's base", "ours", rate, "questions/s", peak_mib=peak[0], note="loading included")


def _pretraining(size: Size, work: Path) -> Iterator[Row]:
    """Yield how many examples a second the lab's pretraining takes, between its first and last report."""
    settings, told = size.pretraining, [(0, 0.0)]
    pretrain(work / "base", settings, lambda step, _: told.append((step, time.perf_counter())))
    (first, began), (last, ended) = told[1], told[-1]
    rate = (last - first) * settings.batch_size * settings.processes / (ended - began)
    yield Row("lab's pretraining", f"{settings.processes} processes, CPU", rate, "examples/s")


def _published(name: str) -> ModelShape:
    found = published(f"Qwen2.5-Coder-{name}")
    assert found is not None
    return found.shape


def _machine(size: Size) -> str:
    return "CPU" if size.device == "cpu" else torch.cuda.get_device_name(0)


def _mfu(flops_per_s: float) -> float | None:
    """Return the share of the card's peak; none on a CPU or an unknown card."""
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    peak = next((tflops for word, tflops in PEAK_TFLOPS.items() if word in name), None)
    return None if peak is None else flops_per_s / (peak * 1e12)


def _line(row: Row) -> str:
    if row.rate is None:
        return f"| {row.part} | {row.system} | {row.note} | | | | |"
    mfu = "–" if row.mfu is None else f"{row.mfu:.1%}"
    peak, told = ("–" if mib is None else f"{mib / 1024:.2f}" for mib in (row.peak_mib, row.told_mib))
    over = "–" if row.over is None else f"{row.over:.2f}"
    return f"| {row.part} | {row.system} | {row.rate:,.1f} {row.unit} | {mfu} | {peak} | {told} | {over} |"


if __name__ == "__main__":
    main()
