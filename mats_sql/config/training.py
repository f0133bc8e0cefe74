"""Settings of training: SFT, ORPO and what they share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mats_sql.config.section import Fraction, Positive, Rate, Section

_LEARNING_RATE = "AdamW's highest learning rate."
_BATCH_SIZE = "{} computed at a time."
_WARMUP = (
    "Part of the steps, rounded down, in which the learning rate rises from nothing; then it falls linearly to nothing."
)


class LoraSettings(Section):
    """PEFT LoRA; rank 0 trains full weights."""

    rank: int = Field(0, ge=0, description="Rank of the adapters; 0: no adapters, all weights are trained.")
    alpha: Positive = Field(32, description="Adapters are scaled by alpha over rank.")
    dropout: Fraction = Field(0.0, description="Share of an adapter's inputs left out in training.")
    target_modules: str = Field("all-linear", description="Which modules get an adapter, as PEFT names them.")
    frozen: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Number type of the frozen weights beneath adapters; auto: bfloat16 on a GPU that computes in it, "
        "else float32.",
    )

    @model_serializer(mode="wrap")
    def _as_before_where_unset(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        # newer than the runs it would tell apart: what was computed without it is found again
        document: dict[str, object] = write(self)
        return document if self.frozen != "auto" else {key: document[key] for key in document if key != "frozen"}


class TrainerSettings(Section):
    """What SFT and ORPO share; docs/training.md says what each does to the update."""

    epochs: float = Field(1.0, gt=0, description="How often each example is seen.")
    learning_rate: Rate = Field(5e-4, description=_LEARNING_RATE)
    batch_size: Positive = Field(16, description=_BATCH_SIZE.format("Examples"))
    gradient_accumulation: Positive = Field(
        1, description="Batches per optimizer step; a step's update is that of one large batch."
    )
    warmup_ratio: Fraction = Field(0.05, description=_WARMUP)
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    max_tokens: Positive = Field(
        1024, description="Tokens of the longest example, prompt and answer; a longer one is dropped whole and listed."
    )
    lora: LoraSettings = Field(LoraSettings(), description="Adapters instead of full weights.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Number type of the computation; auto: bfloat16 on a GPU that has it, else float32."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations twice to keep fewer: less memory, more time."
    )
    checkpoint_steps: Positive = Field(
        50, description="Optimizer steps between two checkpoints that a killed run goes on from."
    )
    logit_rows: Positive = Field(
        1024, description="Token positions whose logits exist at one time: memory, not results."
    )


class TrainingSettings(Section):
    """Where a training runs (docs/training.md)."""

    separate: bool | None = Field(
        None,
        description="Whether a training runs in a process of its own, whose memory and card are free when it ends; "
        "none: where there is a GPU.",
    )
    processes: Positive = Field(
        1,
        description="Processes that share every optimizer step, on a card each where there are cards. They change the "
        "last bits of trained weights.",
    )

    shard: bool = Field(
        False,
        description="Whether each of the processes holds only its part of the weights, gradients and optimizer states "
        "(FSDP), for a model that does not fit one card; for full weights.",
    )

    def identity(self) -> dict[str, int | bool]:
        """Return what of it can change trained weights."""
        if self.processes == 1:
            return {}
        return {"processes": self.processes} | ({"shard": True} if self.shard else {})

    @model_validator(mode="after")
    def _several_share_a_sharded_model(self) -> TrainingSettings:
        if self.shard and self.processes == 1:
            raise ValueError(
                "training.shard shares a model among training.processes, but that is 1; raise it or leave shard out"
            )
        return self


class SftSettings(TrainerSettings):
    """Supervised fine-tuning of one agent."""

    max_examples: int | None = Field(
        None, ge=1, description="How many examples to train on, a fixed random part; none: all."
    )


class SftAgents(Section):
    """Supervised fine-tuning, agent by agent; ``validator`` holds for both validators."""

    planner: SftSettings = Field(SftSettings(), description="The planner's.")
    validator: SftSettings = Field(SftSettings(), description="Both validators'.")
    fixer: SftSettings = Field(SftSettings(), description="The fixer's.")
    selector: SftSettings = Field(SftSettings(), description="The selector's.")

    def of(self, agent: str) -> SftSettings:
        """Return the settings of an agent, named as its registered model is."""
        return {
            "planner": self.planner,
            "select-validator": self.validator,
            "condition-validator": self.validator,
            "fixer": self.fixer,
            "selector": self.selector,
        }[agent]


class OrpoSettings(TrainerSettings):
    """Preference training of one agent (docs/training.md)."""

    learning_rate: Rate = Field(1e-4, description=_LEARNING_RATE)
    batch_size: Positive = Field(8, description=_BATCH_SIZE.format("Pairs"))
    warmup_ratio: Fraction = Field(0.1, description=_WARMUP)
    beta: float = Field(0.25, gt=0, description="Weight of the odds ratio beside the likelihood of the chosen answer.")
    nll: Literal["answer", "prompt_and_answer"] = Field(
        "answer", description="Which tokens the likelihood is of: the chosen answer's, or also its prompt's, as in TRL."
    )
    prefix_sharing: bool = Field(
        True, description="Compute what a pair's two sequences share once: speed, not results."
    )
    packing: bool = Field(False, description="Put several pairs in one row where they fit: speed, not results.")
    eval_steps: int | None = Field(
        None, ge=1, description="Optimizer steps between evaluations on held-out pairs; none: only at the end."
    )
