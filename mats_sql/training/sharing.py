"""How processes share a training: each computes its part of every step, and where the model is sharded holds its part.

Sharding is torch's FSDP2 through accelerate: a layer's weights are gathered when it computes, gradients and optimizer
states never are. Covered: full weights, checkpoints and resume. Not covered: adapters, whose base is small as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mats_sql.training.model_files import BaseModel, load_base

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer, TrainingArguments


@dataclass(frozen=True, slots=True)
class Group:
    """How many processes share a training, and whether each holds only its part of the model."""

    processes: int = 1
    sharded: bool = False


ALONE = Group()
"""One process that holds everything."""


def sharding_arguments() -> dict[str, object]:
    """Return the keyword arguments with which ``TrainingArguments`` have a model sharded, each of its layers alone."""
    chosen = {"version": 2, "reshard_after_forward": True, "cpu_ram_efficient_loading": False}
    return {"fsdp": True, "fsdp_config": {**chosen, "state_dict_type": "FULL_STATE_DICT"}}


def prepare_sharding(arguments: TrainingArguments, *, half: bool) -> None:
    """Have accelerate shard what a trainer of these arguments trains; call it before the trainer is made.

    Gradients are added up in float32 and the model's results keep their type: accelerate would round both to bfloat16,
    log-probabilities to three digits. On a CPU accelerate does not shard, though torch does, through gloo: it is told
    of a device of another kind, which changes nothing else.
    """
    import torch
    from accelerate.state import DistributedType, PartialState
    from torch.distributed.fsdp import MixedPrecisionPolicy

    computed = torch.bfloat16 if half else torch.float32
    arguments.fsdp_plugin_args["mixed_precision_policy"] = MixedPrecisionPolicy(computed, torch.float32)
    if arguments.device.type == "cpu":
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU


def gathered(trainer: Trainer, base: BaseModel) -> PreTrainedModel:
    """Return a sharded model as a whole one, on the first process; the others help to gather it."""
    state = trainer.accelerator.get_state_dict(trainer.model)
    if not trainer.accelerator.is_main_process:
        return base.model
    model = load_base(base.folder).model
    model.load_state_dict(state)
    return model
