"""Attention for a shared prefix with branches: causal over the prefix, masked only for the branches.

One 4-D mask over everything would compute the prefix's upper triangle for nothing and keep the fast causal kernels out.
Here the mask has rows for the last queries only, [batch, 1, branch queries, all keys]; the queries before them are
plain causal. A full mask or none is left to transformers' SDPA.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "prefix_branches"


def attend_in_branches(model: PreTrainedModel) -> None:
    """Let the model take masks for its last queries only."""
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def can_branch(model: PreTrainedModel) -> bool:
    """Return whether every layer attends to everything before it; sliding windows and recurrences do not."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"]
    return all(kind == "full_attention" for kind in kinds)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return [batch, length, heads, size] from query, key, value [batch, heads, length, size]."""
    prefix = 0 if attention_mask is None else query.shape[2] - attention_mask.shape[2]
    if prefix == 0:
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return result
    before = (part[:, :, :prefix] for part in (query, key, value))
    causal, _ = sdpa_attention_forward(module, *before, None, **kwargs)
    branches, _ = sdpa_attention_forward(module, query[:, :, prefix:], key, value, attention_mask, **kwargs)
    return torch.cat([causal, branches], dim=1), None
