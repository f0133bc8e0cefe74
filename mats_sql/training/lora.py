"""PEFT LoRA: adapters while training, an adapter more on the base's layers afterwards (:mod:`mats_sql.layers`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mats_sql.config import LoraSettings

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftConfig, PeftModel
    from transformers import PreTrainedModel


def lora_config(settings: LoraSettings) -> LoraConfig | None:
    """Return PEFT's configuration, or None when full weights are trained."""
    if settings.rank == 0:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_targets(settings.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


def adapt(model: PreTrainedModel, settings: LoraSettings, *, seed: int) -> PreTrainedModel:
    """Return the model with adapters drawn from ``seed``, its own weights frozen; rank 0 returns it as it is."""
    config = lora_config(settings)
    if config is None:
        return model
    import torch
    from peft import get_peft_model

    torch.manual_seed(seed)
    return get_peft_model(model, config)


def write_adapter(model: PeftModel, folder: Path, dtype: torch.dtype) -> None:
    """Write a LoRA model's adapter, rounded to ``dtype``, as PEFT's files."""
    for config in model.peft_config.values():
        _drop_chance(config)
    for weights in model.parameters():
        if weights.requires_grad:
            weights.data = weights.data.to(dtype)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)


def _drop_chance(config: PeftConfig) -> None:
    """Take out what would make equal trainings differ in bytes: this machine's path, and the order of sets."""
    config.base_model_name_or_path = None
    for name, value in vars(config).items():
        if isinstance(value, set):
            setattr(config, name, sorted(value))


def _targets(text: str) -> str | list[str]:
    return text if text == "all-linear" else [name.strip() for name in text.split(",")]
