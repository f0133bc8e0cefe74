"""Which adapter answers a call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoRARequest:
    """An adapter's name, its number from 1, and its folder."""

    lora_name: str
    lora_int_id: int
    lora_path: str
