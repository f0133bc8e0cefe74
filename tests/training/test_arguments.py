"""What the trainers are told, as transformers and TRL understand it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from transformers import TrainingArguments
from trl import SFTConfig

from mats_sql.config import SftSettings
from mats_sql.training.arguments import trainer_arguments
from mats_sql.training.steps import warmup_steps


@pytest.mark.parametrize("trainer", [TrainingArguments, SFTConfig])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_gradient_checkpointing_is_what_the_settings_say_and_no_name_of_it_is_deprecated(
    trainer: type[TrainingArguments], checkpointing: bool, tmp_path: Path
) -> None:
    settings = SftSettings(gradient_checkpointing=checkpointing)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        understood = trainer(**trainer_arguments(settings, 80, work=tmp_path, seed=0, keep=0))
    assert understood.gradient_checkpointing is checkpointing


@pytest.mark.parametrize(("visits", "steps"), [(1, 0), (8, 0), (72, 0), (80, 1), (800, 10)])
def test_a_warm_up_is_a_part_of_the_steps_rounded_down(visits: int, steps: int) -> None:
    assert warmup_steps(visits, SftSettings(batch_size=8, warmup_ratio=0.1)) == steps
