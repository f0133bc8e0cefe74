"""As much of vLLM's interface as the engine uses, computed by transformers: for machines that cannot install vLLM.

It answers slowly and plainly, and refuses what vLLM 0.33 refuses of these arguments. ``calls`` remembers how many
requests each call of ``generate`` had. An adapter is added to the base by PEFT, once for each number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from vllm.lora.request import LoRARequest


@dataclass(frozen=True)
class SamplingParams:
    """How to answer one request."""

    max_tokens: int
    temperature: float = 1.0
    seed: int | None = None
    stop_token_ids: Sequence[int] = ()
    prompt_logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    detokenize: bool = True


@dataclass(frozen=True)
class Logprob:
    """One token's log-probability."""

    logprob: float


def TokensPrompt(*, prompt_token_ids: list[int]) -> dict[str, Any]:  # noqa: N802
    """Return a prompt of tokens."""
    return {"prompt_token_ids": prompt_token_ids}


class LLM:
    """A checkpoint that answers requests."""

    def __init__(self, **arguments: Any) -> None:
        sequence, step = arguments["max_model_len"], arguments["max_num_batched_tokens"]
        if arguments.get("enable_chunked_prefill") is False and step < sequence:
            raise ValueError(f"max_num_batched_tokens ({step}) is smaller than max_model_len ({sequence}).")
        if sequence > AutoConfig.from_pretrained(arguments["model"]).max_position_embeddings:
            raise ValueError(f"User-specified max_model_len ({sequence}) is greater than the derived max_model_len")
        self.calls: list[int] = []
        self.running = True
        self._sequence = sequence
        self.arguments = arguments
        self._models = {0: self._load()}
        self._model = self._models[0]
        self._tokenizer = AutoTokenizer.from_pretrained(arguments["model"])
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self._shutdown))

    def generate(
        self,
        prompts: Sequence[dict[str, Any]],
        parameters: Sequence[SamplingParams],
        *,
        use_tqdm: bool,
        lora_request: LoRARequest | None = None,
    ) -> list[SimpleNamespace]:
        """Answer requests, in order."""
        assert self.running
        assert not use_tqdm
        self._choose(lora_request)
        self.calls.append(len(prompts))
        return [
            self._answer(tuple(prompt["prompt_token_ids"]), asked)
            for prompt, asked in zip(prompts, parameters, strict=True)
        ]

    def _load(self) -> PreTrainedModel:
        dtype = getattr(torch, self.arguments["dtype"])
        return AutoModelForCausalLM.from_pretrained(self.arguments["model"], dtype=dtype)

    def _choose(self, adapter: LoRARequest | None) -> None:
        number = 0 if adapter is None else adapter.lora_int_id
        if adapter is not None and number not in self._models:
            if not self.arguments.get("enable_lora"):
                raise ValueError(f"Got lora_request {adapter} but LoRA is not enabled!")
            if (rank := PeftConfig.from_pretrained(adapter.lora_path).r) > (most := self.arguments["max_lora_rank"]):
                raise ValueError(f"LoRA rank {rank} is greater than max_lora_rank {most}.")
            self._models[number] = PeftModel.from_pretrained(self._load(), adapter.lora_path)
        if self._model is not self._models[number]:
            self._model = self._models[number]
            self._known.clear()

    def _answer(self, prompt: tuple[int, ...], asked: SamplingParams) -> SimpleNamespace:
        if len(prompt) >= self._sequence:
            raise ValueError(f"The decoder prompt (length {len(prompt)}) is longer than {self._sequence}")
        generator = None if asked.seed is None else torch.Generator().manual_seed(asked.seed)
        answer: list[int] = []
        listed = []
        while len(answer) < min(asked.max_tokens, self._sequence - len(prompt)):
            logprobs = self._logprobs((*prompt, *answer))
            answer.append(_chosen(logprobs, asked.temperature, generator))
            wanted = [answer[-1], *(asked.logprob_token_ids or [])]
            listed.append({token: Logprob(float(logprobs[token])) for token in wanted})
            if answer[-1] in asked.stop_token_ids:
                break
        stopped = answer[-1] in asked.stop_token_ids
        said = answer[:-1] if stopped else answer
        text = self._tokenizer.decode(said, skip_special_tokens=True) if asked.detokenize else ""
        return SimpleNamespace(
            prompt_token_ids=list(prompt),
            prompt_logprobs=None if asked.prompt_logprobs is None else self._of_prompt(prompt),
            outputs=[
                SimpleNamespace(
                    text=text,
                    token_ids=answer,
                    finish_reason="stop" if stopped else "length",
                    logprobs=listed if asked.logprob_token_ids is not None else None,
                )
            ],
        )

    def _of_prompt(self, prompt: tuple[int, ...]) -> list[dict[int, Logprob] | None]:
        rows = self._forward(prompt)
        return [None, *({token: Logprob(float(row[token]))} for row, token in zip(rows, prompt[1:], strict=False))]

    def _logprobs(self, tokens: tuple[int, ...]) -> torch.Tensor:
        if tokens not in self._known:
            self._known[tokens] = self._forward(tokens)[-1]
        return self._known[tokens]

    @torch.inference_mode()
    def _forward(self, tokens: tuple[int, ...]) -> torch.Tensor:
        return torch.log_softmax(self._model(torch.tensor([tokens])).logits[0].float(), dim=-1)

    def _shutdown(self) -> None:
        self.running = False


def _chosen(logprobs: torch.Tensor, temperature: float, generator: torch.Generator | None) -> int:
    if temperature == 0:
        return int(logprobs.argmax())
    return int(torch.multinomial(torch.softmax(logprobs / temperature, dim=-1), 1, generator=generator))
