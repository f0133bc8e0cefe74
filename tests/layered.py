"""Checkpoints in layers, made without training."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from mats_sql.layers import base_of, begin_layer
from mats_sql.training.lora import write_adapter


def on_top(below: Path, folder: Path, seed: int) -> Path:
    """Write a checkpoint with one adapter more, its weights drawn at random."""
    folder.mkdir()
    torch.manual_seed(seed)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base_of(below), dtype=torch.float32), config)
    write_adapter(model, begin_layer(folder, below), torch.bfloat16)
    return folder
