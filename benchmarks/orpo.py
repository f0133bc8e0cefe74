"""Pairs per second and peak memory of our ORPO trainer against TRL's: same model, data, batch and threads, one run.

    python benchmarks/orpo.py                              # this CPU, 6.9M parameters, 4:1, 8:1, 16:1
    python benchmarks/orpo.py --device cuda --preset gpu   # 0.5B parameters, bfloat16, 1,700 : 200 tokens

Both trainers run whole steps of transformers' Trainer (forward, backward, clipping, AdamW) on pairs with one prompt.
The first step is not timed. *Bound* is what computing the prompt once can give at most: 2(P+R)/(P+2R). Memory is the
peak during the steps beyond what was held before them: gradients, optimizer states, activations, logits.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Qwen2Config,
    Qwen2ForCausalLM,
    Trainer,
    TrainerCallback,
)
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from mats_sql.agents.messages import user
from mats_sql.config import OrpoSettings
from mats_sql.preference.pair import PreferencePair
from mats_sql.training.model_files import BaseModel
from mats_sql.training.orpo import encode_pairs, orpo_trainer
from mats_sql.training.running import Workplace

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
H200_PEAK_TFLOPS = 989.0
MIB = 2**20


@dataclass(frozen=True)
class Preset:
    """A model's shape and the pairs it is trained on."""

    shape: dict[str, object]
    lengths: tuple[tuple[int, int], ...]
    pairs: int


PRESETS = {
    "cpu": Preset(
        {"vocab_size": 8000, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6}
        | {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True},
        ((256, 64), (512, 64), (1024, 64)),
        pairs=8,
    ),
    "gpu": Preset(
        {"vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
        | {"num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True},
        ((1700, 200),),
        pairs=8,
    ),
}
TRL = "TRL"
OURS = {"ours, TRL's NLL": "prompt_and_answer", "ours, answer NLL": "answer"}


@dataclass(frozen=True)
class Bench:
    """Where and how steps are measured."""

    device: str
    now: Callable[[], float]
    steps: int
    work: Path

    @property
    def on_gpu(self) -> bool:
        """Return whether the steps run on a GPU."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Measurement:
    """One trainer at one pair of lengths."""

    trainer: str
    prompt: int
    answer: int
    pairs_per_s: float
    peak_mib: float
    tokens_per_s: float
    mfu: float | None


@dataclass
class Clock(TrainerCallback):
    """Times whole steps."""

    bench: Bench
    ends: list[float] = field(default_factory=list)

    def on_step_end(self, *_: object, **__: object) -> None:
        """Note when a step ended."""
        if self.bench.on_gpu:
            torch.cuda.synchronize()
        self.ends.append(self.bench.now())

    @property
    def step_s(self) -> float:
        """Return the median time of a step after the first."""
        return statistics.median(after - before for before, after in zip(self.ends, self.ends[1:], strict=False))


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="cpu", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=int, default=None, help="CPU threads of both trainers (default: torch's).")
@click.option(
    "--clock",
    type=click.Choice(sorted(CLOCKS)),
    default="wall",
    show_default=True,
    help="What a step costs: wall time, or this process's CPU time (for a busy machine; use --threads 1).",
)
@click.option("--steps", type=int, default=3, show_default=True, help="Steps per trainer; the first is not timed.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write the measurements as JSON here.")
def main(preset: str, device: str, threads: int | None, clock: str, steps: int, out: Path | None) -> None:
    """Measure every trainer at every pair of lengths and print the table."""
    if threads:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
    millions = _base(PRESETS[preset]).model.num_parameters() / 1e6
    click.echo(f"{millions:.1f}M parameters, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        found = list(_measure_all(PRESETS[preset], Bench(device, CLOCKS[clock], steps, Path(folder))))
    _print_table(found)
    if out:
        out.write_text(json.dumps([asdict(item) for item in found], indent=1), encoding="utf-8")


def _measure_all(preset: Preset, bench: Bench) -> Iterator[Measurement]:
    for prompt, answer in preset.lengths:
        words = int(str(preset.shape["vocab_size"]))
        visits = [random_pair(index, prompt, answer, words) for index in range(preset.pairs * bench.steps)]
        for name in (TRL, *OURS):
            base = _base(preset)
            base.model.to(bench.device)
            trainer = _trls(base, visits, preset, bench) if name == TRL else _ours(base, visits, preset, bench, name)
            step_s, peak_mib = timed(trainer, bench)
            tokens = preset.pairs * 2 * (prompt + answer)  # what a pair's two sequences hold, shared or not
            mfu = 6 * base.model.num_parameters() * tokens / step_s / (H200_PEAK_TFLOPS * 1e12)
            found = Measurement(
                name, prompt, answer, preset.pairs / step_s, peak_mib, tokens / step_s, mfu if bench.on_gpu else None
            )
            click.echo(f"{name:20s} {prompt}:{answer} {found.pairs_per_s:8.3f} pairs/s {peak_mib:8.0f} MiB")
            yield found
            del trainer, base


def timed(trainer: Trainer, bench: Bench) -> tuple[float, float]:
    """Return the median seconds of a step after the first, and the peak memory in MiB."""
    clock = Clock(bench)
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    with peak_memory(bench.device) as peak:
        trainer.train()
    return clock.step_s, peak[0]


@contextmanager
def peak_memory(device: str) -> Iterator[list[float]]:
    """Yield a list that receives the peak, in MiB, beyond what is held at the start."""
    gc.collect()
    peak: list[float] = []
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield peak
        peak.append((torch.cuda.max_memory_allocated() - before) / MIB)
        return
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak resident size
    resident = _resident_kib("VmRSS")
    yield peak
    peak.append((_resident_kib("VmHWM") - resident) / 1024)


def _resident_kib(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return float(line.split()[1])


def _ours(base: BaseModel, visits: Sequence[PreferencePair], preset: Preset, bench: Bench, name: str) -> Trainer:
    settings = OrpoSettings(batch_size=preset.pairs, max_tokens=100_000).model_copy(update={"nll": OURS[name]})
    encoded, _ = encode_pairs(base.tokenizer, visits, settings.max_tokens)
    return orpo_trainer(base, encoded, [], settings, Workplace(bench.work, None), seed=0)


def _trls(base: BaseModel, visits: Sequence[PreferencePair], preset: Preset, bench: Bench) -> Trainer:
    texts = [
        {"prompt": pair.chosen_prompt[0].content + " ", "chosen": pair.chosen, "rejected": pair.rejected}
        for pair in visits
    ]
    config = ORPOConfig(
        output_dir=str(bench.work),
        beta=OrpoSettings().beta,
        per_device_train_batch_size=preset.pairs,
        num_train_epochs=1,
        max_length=100_000,
        train_sampling_strategy="sequential",
        use_cpu=not bench.on_gpu,
        bf16=bench.on_gpu,
        gradient_checkpointing=False,
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
    )
    data = Dataset.from_list(texts)
    return ORPOTrainer(model=base.model, args=config, train_dataset=data, processing_class=base.tokenizer)


def random_pair(index: int, prompt: int, answer: int, vocabulary: int) -> PreferencePair:
    """Return a pair of random words, one token each; the answers' end token makes them ``answer`` long."""
    chance = random.Random(index)
    lengths = (prompt, answer - 1, answer - 1)
    asked, *texts = (" ".join(f"w{chance.randrange(2, vocabulary)}" for _ in range(count)) for count in lengths)
    messages = user(asked)
    return PreferencePair(str(index), "bench", "indep", index, messages, messages, *texts, "c", "r")


def with_a_word_per_token(model: PreTrainedModel) -> BaseModel:
    """Return a model, as training holds it, with a tokenizer for the words of :func:`random_pair`."""
    words = {"<e>": 0, "<p>": 1} | {f"w{index}": index for index in range(2, model.config.vocab_size)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<p>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<e>", pad_token="<p>")
    tokenizer.chat_template = "{{ messages[0]['content'] + ' ' }}"
    model.config.eos_token_id, model.config.pad_token_id = 0, 1
    return BaseModel(Path(), model, tokenizer, torch.float32, use_cache=True)


def _base(preset: Preset) -> BaseModel:
    """Return the preset's model with random weights, the same ones each time."""
    torch.manual_seed(0)
    return with_a_word_per_token(Qwen2ForCausalLM(Qwen2Config(**preset.shape, max_position_embeddings=4096)))


def _print_table(found: Sequence[Measurement]) -> None:
    click.echo(
        "\n| prompt:answer | trainer | pairs/s | over TRL | of the bound | tokens/s | MFU | peak MiB | of TRL's |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|")
    for item in found:
        reference = next(other for other in found if other.trainer == TRL and other.prompt == item.prompt)
        speedup = item.pairs_per_s / reference.pairs_per_s
        bound = 2 * (item.prompt + item.answer) / (item.prompt + 2 * item.answer)
        mfu = "–" if item.mfu is None else f"{item.mfu:.1%}"
        click.echo(
            f"| {item.prompt}:{item.answer} | {item.trainer} | {item.pairs_per_s:.2f} | {speedup:.2f} "
            f"| {speedup / bound:.0%} | {item.tokens_per_s:,.0f} | {mfu} | {item.peak_mib:,.0f} "
            f"| {item.peak_mib / reference.peak_mib:.0%} |"
        )


if __name__ == "__main__":
    main()
