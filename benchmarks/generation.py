"""Tokens per second of the transformers engine against ``generate(num_return_sequences=8)``, side by side in one run.

Both draw eight answers to each of the same prompts with the same random-weight model, threads and number format, to a
fixed length (no stop token), at several prompt : answer lengths. ``generate`` gets the prompts in several batch sizes
and the fastest counts; rounds of both alternate and the best of each counts. On a CPU, processor time is measured, not
wall time, so that whatever else runs on the machine disturbs neither.

    python benchmarks/generation.py                    the lab's shape, under two minutes on one core
    python benchmarks/generation.py --hidden 896 --layers 24 --heads 14 --key-heads 2 --vocabulary 151936 \
        --dtype bfloat16 --device cuda --prompt 1600   a 0.5B Qwen2's shape on a GPU
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from mats_sql.generation.branched_cache import register_shared_prompt_attention
from mats_sql.generation.decoding import Branch, Decoder, Limits, Prompt

SAMPLES = 8


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
    """Print one table row per ratio."""
    options = _options()
    torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    model = _model(options).to(device, dtype).eval()
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{millions:.1f}M parameters, {options.prompts} prompts of {options.prompt} tokens, {SAMPLES} answers each,")
    print(f"{options.dtype} on {device}, {options.threads} thread(s), best of {options.rounds}\n")
    print("| prompt : answer | generate, tokens/s | engine, tokens/s | times faster |\n|---|---|---|---|")
    for ratio in options.ratios:
        prompts = torch.randint(10, options.vocabulary, (options.prompts, options.prompt))
        task = Round(prompts.to(device), options.prompt // ratio)
        contenders = [partial(_plain, model, task, size) for size in options.batches]
        *plain_s, engine_s = _race([*contenders, partial(_engine, model, task)], options.rounds)
        plain, engine = task.tokens / min(plain_s), task.tokens / engine_s
        print(f"| {ratio}:1 | {plain:,.0f} | {engine:,.0f} | {engine / plain:.2f} |", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {
        "hidden": 128, "layers": 4, "heads": 4, "key-heads": 4, "vocabulary": 2048, "prompt": 256, "prompts": 32,
        "rounds": 2, "threads": 1,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--ratios", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 32], help="prompts per call of generate")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    return parser.parse_args()


def _model(options: argparse.Namespace) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=options.vocabulary,
        hidden_size=options.hidden,
        intermediate_size=4 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.key_heads,
        max_position_embeddings=2 * options.prompt,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return Qwen2ForCausalLM(config)


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


def _plain(model: Qwen2ForCausalLM, task: Round, batch: int) -> None:
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


def _engine(model: Qwen2ForCausalLM, task: Round) -> None:
    model.set_attn_implementation(register_shared_prompt_attention())
    decoder = Decoder(model, [], Limits(prompt_tokens=16384, rows=256), shared=True)
    prompts = [
        Prompt(tuple(tokens), tuple(Branch(index * SAMPLES + sample, sample) for sample in range(SAMPLES)))
        for index, tokens in enumerate(task.prompts.tolist())
    ]
    answers = list(decoder.decode(prompts, 1.0, task.answer_tokens))
    assert sum(len(answer.tokens) for answer in answers) == task.tokens


if __name__ == "__main__":
    main()
