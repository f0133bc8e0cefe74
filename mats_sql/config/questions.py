"""Settings of what is asked: the benchmark, and the lab that is generated in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mats_sql.config.section import Positive, Rate, Section


class BenchmarkSettings(Section):
    """Where questions come from. ``lab`` is generated; the others are read from ``root`` in their own layout."""

    kind: Literal["lab", "bird", "spider"] = Field("lab", description="Which benchmark, and in whose files' layout.")
    root: Path | None = Field(
        None, description="The folder with the benchmark's own files (docs/benchmarks.md); the lab needs none."
    )
    train_databases: tuple[str, ...] = Field(
        (),
        description="Databases of the dev files whose questions are the train split, and not dev's, instead of that of "
        "the train files; none: the train files.",
    )
    train_questions: int | None = Field(
        None, ge=1, description="How many train questions to use, in the proportions of all; none: all."
    )
    dev_questions: int | None = Field(
        None, ge=1, description="How many dev questions to use, in the proportions of all; none: all."
    )
    validation_questions: Positive = Field(
        150,
        description="How many dev questions the search may look at, in the proportions of all; tables are also given "
        "without them.",
    )
    values_per_column: int = Field(
        1, ge=0, description="How many values like the question's words a prompt shows per text column; 0: none."
    )
    show_types: bool = Field(True, description="Whether a prompt's schema says each column's type.")
    show_meanings: bool = Field(True, description="Whether it says what the benchmark's descriptions say of a column.")
    show_nulls: bool = Field(True, description="Whether it marks columns with missing values.")
    schema_characters: int | None = Field(
        None,
        ge=1,
        description="The most characters of a prompt's schema: columns that the question is least about are left out "
        "until it fits, keys never; none: all columns.",
    )

    def prompt_settings(self) -> dict[str, bool | int]:
        """Return the settings that can change a prompt."""
        kept = {"values_per_column", "show_types", "show_meanings", "show_nulls", "schema_characters"}
        return self.model_dump(mode="json", include=kept - self._unset())

    def question_settings(self) -> dict[str, object]:
        """Return the settings that can change which questions there are, or their prompts: all but the place."""
        return self.model_dump(mode="json", exclude={"root"} | self._unset())

    def _unset(self) -> set[str]:
        # without these the settings read as they did before there were any, so what was computed is found again
        return {name for name in ("schema_characters", "train_databases") if not getattr(self, name)}

    @model_validator(mode="after")
    def _root_is_given(self) -> BenchmarkSettings:
        if self.kind != "lab" and self.root is None:
            raise ValueError(f"benchmark.root must be set when benchmark.kind is {self.kind!r}; set it to the folder")
        return self


class LabSettings(Section):
    """Size and seed of the generated benchmark (docs/lab.md)."""

    seed: int = Field(1, description="Another seed writes another benchmark of the same kind.")
    train_databases: Positive = Field(60, description="How many databases only the train questions ask about.")
    train_questions: Positive = Field(2400, description="How many train questions are generated, over all databases.")
    dev_databases: Positive = Field(11, description="How many databases only the dev questions ask about.")
    dev_questions: Positive = Field(
        1524, description="How many dev questions are generated; as many as BIRD-dev has usable ones."
    )


class PretrainSettings(Section):
    """How the lab's base model is made: copying (it forms induction heads), then every agent's task, then reviews.

    The packaged base model was made with the defaults; only the entry point ``pretrain`` reads them.
    """

    seed: int = Field(0, description="Decides the weights to begin with, the examples and their order.")
    start: str = Field(
        "",
        description="A base model to go on from, `lab` for the packaged one, else its folder; its tokenizer and sizes "
        "are kept. Empty begins from random weights.",
    )
    vocabulary: int = Field(2600, ge=512, description="The most tokens the tokenizer may have.")
    layers: Positive = Field(4, description="Transformer layers.")
    width: Positive = Field(128, description="Length of a hidden state.")
    heads: Positive = Field(4, description="Attention heads per layer; they share the width.")
    feed_forward: Positive = Field(384, description="Length of a feed-forward layer's inner state.")
    context_tokens: Positive = Field(
        1024, description="The longest sequence the model takes; longer examples are left out."
    )
    copy_steps: int = Field(
        350, ge=0, description="Optimizer steps on random sequences that are followed by themselves."
    )
    copy_tokens: Positive = Field(40, description="Tokens of such a sequence before it is repeated.")
    examples: int = Field(
        180_000, ge=0, description="Examples of the agents' tasks, each seen once: the base model's skill."
    )
    review_examples: int = Field(
        205_000,
        ge=0,
        description="Examples after those, most of them critiques and fixes, in which the response of SQL that does "
        "not run names the nearest columns and values and goes on with them, as it does to a team.",
    )
    batch_size: Positive = Field(12, description="Examples per step and process.")
    learning_rate: Rate = Field(2e-3, description="The highest rate; a cosine takes it down to a twentieth.")
    review_learning_rate: Rate = Field(
        4e-4, description="The same for the last phase, which has an optimizer and a cosine of its own."
    )
    warmup_steps: int = Field(100, ge=0, description="Steps in which the rate rises from nothing, in both.")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's decay of matrices.")
    checkpoint_steps: Positive = Field(
        500, description="Steps between checkpoints; a pretraining that was stopped goes on from the last."
    )
    snapshot_examples: Positive = Field(
        50_000, description="Examples between two snapshots of the model, which a learning curve is drawn from."
    )
    processes: Positive = Field(
        2, description="Processes of one thread, each with its own examples; another number makes another model."
    )
