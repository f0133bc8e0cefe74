"""What the trainers are told, as transformers and TRL understand it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from transformers import TrainingArguments
from trl import SFTConfig

from mats_sql.config import SftSettings
from mats_sql.training.arguments import trainer_arguments


@pytest.mark.parametrize("trainer", [TrainingArguments, SFTConfig])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_gradient_checkpointing_is_what_the_settings_say_and_no_name_of_it_is_deprecated(
    trainer: type[TrainingArguments], checkpointing: bool, tmp_path: Path
) -> None:
    settings = SftSettings(gradient_checkpointing=checkpointing)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        understood = trainer(**trainer_arguments(settings, work=tmp_path, seed=0, keep=0))
    assert understood.gradient_checkpointing is checkpointing
