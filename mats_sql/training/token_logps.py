"""Log-probabilities of given tokens, computed in chunks: the [positions x vocabulary] logits never exist whole.

Forward keeps one number per position (the log of the softmax's denominator); backward computes each chunk's logits
again and turns them into their own gradient in place. One extra product with the output matrix buys a memory that does
not grow with the vocabulary times the length.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from mats_sql.errors import ModelError

_UNUSUAL_HEADS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")


def attach_scorer(model: PreTrainedModel, rows: int) -> None:
    """Let ``model(..., scored_rows=i, scored_tokens=t)`` return log p(t | its context) per position, in float32.

    ``scored_rows`` are flat indices [N] into [batch x length] of the predicting positions, ``scored_tokens`` [N] the
    tokens they should predict; at most ``rows`` positions' logits exist at a time. Going through ``forward``, of the
    model and of its head, keeps PEFT, autocast, DistributedDataParallel and FSDP in play. Raises :class:`ModelError`
    for heads that rescale their logits.
    """
    _check_head(model)
    original, head = model.forward, model.get_output_embeddings()
    logits = head.forward

    def forward(*args: Any, scored_rows: Any = None, scored_tokens: Any = None, **kwargs: Any) -> Any:
        if scored_rows is None:
            return original(*args, **kwargs)
        hidden = model.base_model(*args, use_cache=False, **kwargs).last_hidden_state
        return head(hidden.flatten(0, 1).index_select(0, scored_rows), scored_tokens)

    def head_forward(scored: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
        return logits(scored) if tokens is None else token_log_probs(scored, head.weight, tokens, rows)

    model.forward, head.forward = forward, head_forward


def token_log_probs(hidden: torch.Tensor, weight: torch.Tensor, tokens: torch.Tensor, rows: int) -> torch.Tensor:
    """Return log softmax(hidden @ weight.T)[tokens] as float32 [N]; hidden [N, H], weight [V, H], tokens [N]."""
    device = hidden.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    result: torch.Tensor = _TokenLogProbs.apply(hidden, weight, tokens, rows, compute)
    return result


class _TokenLogProbs(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, tokens: torch.Tensor, rows: int, compute: torch.dtype
    ) -> torch.Tensor:
        matrix = weight.to(compute)
        log_probs, normalisers = [], []
        for chunk, chunk_tokens in zip(hidden.split(rows), tokens.split(rows), strict=True):
            logits = (chunk.to(compute) @ matrix.T).float()
            normalisers.append(logits.logsumexp(-1))
            log_probs.append(logits.gather(-1, chunk_tokens[:, None])[:, 0] - normalisers[-1])
        ctx.save_for_backward(hidden, weight, tokens, torch.cat(normalisers))
        ctx.rows, ctx.compute = rows, compute
        return torch.cat(log_probs)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, tokens, normalisers = ctx.saved_tensors
        matrix = weight.to(ctx.compute)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for start in range(0, len(tokens), ctx.rows):
            part = slice(start, start + ctx.rows)
            chunk = hidden[part].to(ctx.compute)
            flow = _logit_gradient((chunk @ matrix.T).float(), normalisers[part], tokens[part], gradient[part])
            flow = flow.to(ctx.compute)
            hidden_gradient[part] = (flow @ matrix).to(hidden.dtype)
            if weight_gradient is not None:
                weight_gradient += flow.T @ chunk
        return hidden_gradient, weight_gradient, None, None, None


def _logit_gradient(
    logits: torch.Tensor, normalisers: torch.Tensor, tokens: torch.Tensor, gradient: torch.Tensor
) -> torch.Tensor:
    """Return gradient x (onehot(token) - softmax(logits)), overwriting ``logits``."""
    logits.sub_(normalisers[:, None]).exp_().mul_(-gradient[:, None])
    logits.scatter_add_(-1, tokens[:, None], gradient[:, None])
    return logits


def _check_head(model: PreTrainedModel) -> None:
    config = model.config.get_text_config()
    unusual = [name for name in _UNUSUAL_HEADS if getattr(config, name, None) not in (None, 1.0)]
    if unusual or getattr(model.get_output_embeddings(), "bias", None) is not None:
        what = ", ".join(unusual) or "a bias"
        raise ModelError(
            f"training needs a plain linear output head, but {type(model).__name__} has {what}; "
            "use a Llama or Qwen model"
        )
