"""The memory that stages compute in: a card's, or this machine's."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mats_sql.doctor.memory import GIB


@dataclass(frozen=True, slots=True)
class Machine:
    """Where stages compute. ``free`` is what other processes leave of a card's ``memory``, both in bytes."""

    name: str
    memory: int
    free: int
    is_card: bool


def this_machine() -> Machine:
    """Return the first CUDA card, or without one the machine's RAM."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(0)
        return Machine(torch.cuda.get_device_name(0), total, free, is_card=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine("this machine's RAM", memory, memory, is_card=False)


def imagined_card(gigabytes: float) -> Machine:
    """Return a card of so many gigabytes (of 2^30 bytes, as cards are sold), all of it free."""
    size = int(gigabytes * GIB)
    return Machine(f"a card of {gigabytes:g} GB", size, size, is_card=True)
