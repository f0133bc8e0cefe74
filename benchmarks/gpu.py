"""What one GPU does here, in ten minutes and one table: training beside TRL, drawing beside vLLM, a team, pretraining.

    python benchmarks/gpu.py             one GPU, bfloat16, the shapes of Qwen2.5-Coder 0.5B, 1.5B and 3B
    python benchmarks/gpu.py --small     tiny shapes on a CPU, about a minute: does the code run?

Nothing is downloaded: weights are random, of published shapes, made on the spot. Training takes whole steps (forward,
backward, clipping, AdamW) on full weights; the first is not timed. Tokens of ORPO are those of both sequences of a
pair, shared or not, and MFU is 6 x parameters x tokens a second over the card's dense bfloat16 peak: sharing a prompt
counts as speed. Memory is what a part took at its peak, weights included, beside what `doctor` says of that step. A
part that does not fit, does not start, or for which no time is left, is a line that says so. Pretraining of the lab's
base runs on the CPU wherever it runs.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import torch
from datasets import Dataset
from gpu_drawing import generation, transformers_rates, vllm_rates, vllm_rates_of
from gpu_table import COLUMNS, Row, Size, full, line_of, small
from orpo import MIB, Bench, peak_memory, random_pair, timed, with_a_word_per_token
from trl import SFTConfig, SFTTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from mats_sql.agents.names import AGENTS
from mats_sql.benchmark.bird import read_bird
from mats_sql.config import (
    BenchmarkSettings,
    LabSettings,
    OrpoSettings,
    Policy,
    SftSettings,
    TrainerSettings,
)
from mats_sql.doctor.memory import training_memory
from mats_sql.errors import MatsError
from mats_sql.lab.base import base_model_path
from mats_sql.lab.generator import write_lab
from mats_sql.lab.pretraining import pretrain
from mats_sql.pipeline.questions import source
from mats_sql.preference.pair import PreferencePair
from mats_sql.shapes import ModelShape, random_qwen2
from mats_sql.team.folder import TeamSettings, open_team, write_team
from mats_sql.training.encoding import encode_answers
from mats_sql.training.model_files import BaseModel
from mats_sql.training.orpo import encode_pairs, orpo_trainer
from mats_sql.training.running import Workplace
from mats_sql.training.sft import sft_trainer

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "4090": 165.0}
"""Dense bfloat16 peaks by a word of the card's name, as their maker publishes them."""
STEPS = 3
LONGEST = 100_000


Part = Callable[[], Iterator[Row]]


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
        click.echo(line_of(row))


def _parts(size: Size, work: Path) -> dict[str, Part]:
    training: dict[str, Part] = {}
    for name in size.shapes:
        training[f"orpo {name}"] = partial(_training, f"orpo {name}", name, size, work, (_trls_orpo, _our_orpo))
        training[f"sft {name}"] = partial(_training, f"sft {name}", name, size, work, (_trls_sft, _our_sft))
    first, *others = size.shapes
    return {
        **training,
        "transformers": partial(transformers_rates, size, first, work),
        "vllm": partial(vllm_rates, size, first, work),
        "team": partial(_team, size, work),
        "pretraining": partial(_pretraining, size, work),
        **{f"vllm {name}": partial(vllm_rates_of, size, name, work) for name in others},
    }


def _kept(name: str, part: Part, end: float) -> list[Row]:
    """Return a part's rows; what does not fit into memory or time is a row too."""
    if time.monotonic() > end:
        return [Row(name, "–", note="no time left")]
    rows: list[Row] = []
    try:
        for row in part():
            rows.append(row)
            click.echo(line_of(row))
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
    checkpointing = name in size.checkpointing
    return {"batch_size": size.batch[name], "max_tokens": LONGEST, "gradient_checkpointing": checkpointing}


def _trls_settings(size: Size, name: str, work: Path) -> dict[str, object]:
    return {
        "output_dir": str(work),
        "per_device_train_batch_size": size.batch[name],
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "use_cpu": size.device == "cpu",
        "bf16": size.device != "cpu",
        "gradient_checkpointing": name in size.checkpointing,
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


# The whole


def _team(size: Size, work: Path) -> Iterator[Row]:
    """Yield how fast five agents, all with the lab's base model, answer the lab's questions."""
    settings = TeamSettings(
        policy=Policy(k=size.samples),
        generation=generation(replace(size, prompt=2048, answer=192), "transformers").model_copy(
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
    """Yield how many examples a second the lab's pretraining takes, between its last two reports.

    Drawing the examples, about a tenth of a whole pretraining, is not in it, nor is making the tokenizer: the packaged
    one is used.
    """
    settings, told, state = size.pretraining, [(0, 0.0)], work / "pretraining"
    state.mkdir()
    shutil.copyfile(base_model_path() / "tokenizer.json", state / "tokenizer.json")
    pretrain(work / "base", settings, lambda step, _: told.append((step, time.perf_counter())), state)
    (first, began), (last, ended) = told[-2:]
    rate = (last - first) * settings.batch_size * settings.processes / (ended - began)
    yield Row("lab's pretraining", f"{settings.processes} processes, CPU", rate, "examples/s")


def _machine(size: Size) -> str:
    return "CPU" if size.device == "cpu" else torch.cuda.get_device_name(0)


def _mfu(flops_per_s: float) -> float | None:
    """Return the share of the card's peak; none on a CPU or an unknown card."""
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    peak = next((tflops for word, tflops in PEAK_TFLOPS.items() if word in name), None)
    return None if peak is None else flops_per_s / (peak * 1e12)


if __name__ == "__main__":
    main()
