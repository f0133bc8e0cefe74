"""Tokens per second of the transformers engine against ``generate(num_return_sequences=8)``, side by side in one run.

Both draw eight answers to each of the same prompts with the same model, threads and number format, to a fixed length
(no stop token), at several prompt : answer lengths. ``generate`` gets the prompts in several batch sizes and the
fastest counts; rounds of both alternate and the best of each counts. On a CPU, processor time is measured, not wall
time, so that whatever else runs on the machine disturbs neither.

The model is the packaged base of the lab, the prompts are its planner's: as many of them behind one another as
``--prompt`` tokens need, cut at the front to equal length. The same shape is measured with random weights too, and a
shape given by options has only those. They are the engine's worst case: every token is about equally likely, so more
draws than of a trained model are too close to call and are settled alone (:mod:`mats_sql.generation.decoding`).

    python benchmarks/generation.py --rounds 3         the lab's base, a few minutes on one core
    python benchmarks/generation.py --hidden 896 --layers 24 --heads 14 --key-heads 2 --vocabulary 151936 \
        --dtype bfloat16 --device cuda --prompt 1600   a 0.5B Qwen2's shape on a GPU
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from mats_sql.agents.planner import planner_messages
from mats_sql.benchmark.bird import read_bird
from mats_sql.config import BenchmarkSettings, LabSettings
from mats_sql.generation.branched_cache import register_shared_prompt_attention
from mats_sql.generation.chat_tokens import ChatTokens
from mats_sql.generation.decoding import Branch, Decoder, Limits, Prompt
from mats_sql.lab.base import base_model_path
from mats_sql.lab.generator import write_lab
from mats_sql.pipeline.questions import source

SAMPLES = 8
SHAPE = {"hidden": 128, "layers": 4, "heads": 4, "key_heads": 4, "vocabulary": 2048}


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and the prompts [N, P] that it answers."""

    weights: str
    model: PreTrainedModel
    prompts: torch.Tensor


@dataclass(frozen=True, slots=True)
class Round:
    """One task: prompts of equal length, answers of equal length."""

    prompts: torch.Tensor
    answer_tokens: int

    @property
    def tokens(self) -> int:
        """How many tokens a round draws."""
        return len(self.prompts) * SAMPLES * self.answer_tokens


def main() -> None:
    """Print one table row per model and ratio."""
    options = _options()
    torch.set_num_threads(options.threads)
    print(f"{options.prompts} prompts of {options.prompt} tokens, {SAMPLES} answers each, {options.dtype} on ", end="")
    print(f"{options.device}, {options.threads} thread(s), generate in batches of {options.batches}, ", end="")
    print(f"best of {options.rounds}\n")
    print("| weights | prompt : answer | generate, tokens/s | engine, tokens/s | times faster | settled |")
    print("|---|---|---|---|---|---|", flush=True)
    for subject in _subjects(options):
        for ratio in options.ratios:
            print(_row(subject, ratio, options), flush=True)


def _row(subject: Subject, ratio: int, options: argparse.Namespace) -> str:
    task = Round(subject.prompts.to(options.device), options.prompt // ratio)
    model = subject.model.to(options.device, getattr(torch, options.dtype)).eval()
    model.generation_config.eos_token_id = None  # or generate would stop at it
    contenders = [partial(_plain, model, task, size) for size in options.batches]
    settled: list[int] = []
    *plain_s, engine_s = _race([*contenders, partial(_engine, model, task, settled)], options.rounds)
    plain, engine = task.tokens / min(plain_s), task.tokens / engine_s
    share = f"{settled[-1]:,} of {task.tokens:,}"
    return f"| {subject.weights} | {ratio}:1 | {plain:,.0f} | {engine:,.0f} | {engine / plain:.2f} | {share} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in SHAPE.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, help=f"random weights ({value} if others are given)"
        )
    for name, value in {"prompt": 256, "prompts": 32, "rounds": 2, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--ratios", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 32], help="prompts per call of generate")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    return parser.parse_args()


def _subjects(options: argparse.Namespace) -> Iterator[Subject]:
    if any(getattr(options, name) is not None for name in SHAPE):
        model = _random_qwen2(options)
        prompts = torch.randint(10, model.config.vocab_size, (options.prompts, options.prompt))
        yield Subject(_label("random", model), model, prompts)
        return
    base, prompts = base_model_path(), _planner_prompts(options.prompts, options.prompt)
    model = AutoModelForCausalLM.from_pretrained(base)
    yield Subject(_label("lab base", model), model, prompts)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    yield Subject(_label("random", model), model, prompts)


def _label(weights: str, model: PreTrainedModel) -> str:
    return f"{weights}, {sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f}M"


def _random_qwen2(options: argparse.Namespace) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    shape = {name: getattr(options, name) or value for name, value in SHAPE.items()}
    config = Qwen2Config(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["hidden"],
        intermediate_size=4 * shape["hidden"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["key_heads"],
        max_position_embeddings=2 * options.prompt,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return Qwen2ForCausalLM(config)


def _planner_prompts(count: int, length: int) -> torch.Tensor:
    """Return [count, length] tokens: the ends of the lab's planner prompts, others before them where one is short."""
    with tempfile.TemporaryDirectory() as folder:
        write_lab(Path(folder), LabSettings(train_questions=8 * count, dev_questions=1, dev_databases=1))
        benchmark = read_bird(Path(folder), "train")
        ids = [question.question_id for question in benchmark.questions]
        tasks = source(benchmark, ids, BenchmarkSettings()).tasks.values()
    messages = [planner_messages(task.question, task.schema_text) for task in tasks]
    waiting = iter(ChatTokens(base_model_path()).prompts(messages))
    return torch.tensor([_at_least(waiting, length)[-length:] for _ in range(count)])


def _at_least(prompts: Iterator[tuple[int, ...]], length: int) -> list[int]:
    tokens: list[int] = []
    while len(tokens) < length:
        tokens += next(prompts)
    return tokens


def _race(contenders: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Return the shortest time of each in seconds; one more round before the first warms all up."""
    times = [[_seconds(work) for work in contenders] for _ in range(rounds + 1)][1:]
    return [min(column) for column in zip(*times, strict=True)]


def _seconds(work: Callable[[], None]) -> float:
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def _plain(model: PreTrainedModel, task: Round, batch: int) -> None:
    model.set_attn_implementation("sdpa")
    for prompts in task.prompts.split(batch):
        output = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=True,
            top_k=0,
            num_return_sequences=SAMPLES,
            max_new_tokens=task.answer_tokens,
        )
        assert output.shape == (len(prompts) * SAMPLES, prompts.shape[1] + task.answer_tokens)


def _engine(model: PreTrainedModel, task: Round, settled: list[int]) -> None:
    model.set_attn_implementation(register_shared_prompt_attention())
    decoder = Decoder(model, [], Limits(prompt_tokens=16384, rows=256), shared=True)
    prompts = [
        Prompt(tuple(tokens), tuple(Branch(key, key) for key in range(index * SAMPLES, (index + 1) * SAMPLES)))
        for index, tokens in enumerate(task.prompts.tolist())
    ]
    answers = list(decoder.decode(prompts, 1.0, task.answer_tokens))
    assert sum(len(answer.tokens) for answer in answers) == task.tokens
    settled.append(decoder.settled)


if __name__ == "__main__":
    main()
