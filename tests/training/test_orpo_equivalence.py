"""Configurations that must train alike: TRL's trainer, any split of a step, any layout of a batch, any resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from mats_sql.agents.messages import as_dicts
from mats_sql.config import LoraSettings, OrpoSettings
from mats_sql.preference.pair import PreferencePair
from mats_sql.training.arguments import warmup_steps
from mats_sql.training.model_files import load_base
from mats_sql.training.orpo import encode_pairs, orpo_trainer
from mats_sql.training.running import Workplace

TRL_LIKE = OrpoSettings(nll="prompt_and_answer", batch_size=8, learning_rate=1e-4, max_tokens=512)
ANSWER_ONLY = TRL_LIKE.model_copy(update={"nll": "answer"})
STEPS = 20


@dataclass(frozen=True)
class Trajectory:
    """What a training did: its losses, the first step's gradients, the final weights."""

    losses: list[float]
    gradients: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]


def assert_equal_within(left: Trajectory, right: Trajectory, tolerance: float) -> None:
    torch.testing.assert_close(left.losses, right.losses, atol=tolerance, rtol=0)
    assert left.gradients
    torch.testing.assert_close(left.gradients, right.gradients, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(left.weights, right.weights, atol=tolerance, rtol=0)


def ours(
    base: Path, visits: Sequence[PreferencePair], settings: OrpoSettings, work: Path, *, seed: int = 0
) -> Trajectory:
    loaded = load_base(base)
    encoded, dropped = encode_pairs(loaded.tokenizer, visits, settings.max_tokens)
    assert not dropped
    return _train(orpo_trainer(loaded, encoded, [], settings, Workplace(work, None), seed))


def trls(base: Path, visits: Sequence[PreferencePair], settings: OrpoSettings, work: Path) -> Trajectory:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    loaded = load_base(base)
    config = ORPOConfig(
        output_dir=str(work),
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        warmup_steps=warmup_steps(len(visits), settings),
        weight_decay=settings.weight_decay,
        num_train_epochs=1,
        max_length=10_000,
        train_sampling_strategy="sequential",
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
    )
    trainer = ORPOTrainer(
        model=loaded.model,
        args=config,
        train_dataset=Dataset.from_list([_texts(loaded.tokenizer, pair) for pair in visits]),
        processing_class=loaded.tokenizer,
    )
    return _train(trainer)


def _texts(tokenizer, pair: PreferencePair) -> dict[str, str]:
    prompt = tokenizer.apply_chat_template(as_dicts(pair.chosen_prompt), tokenize=False, add_generation_prompt=True)
    return {"prompt": prompt, "chosen": pair.chosen, "rejected": pair.rejected}


def _train(trainer: Trainer) -> Trajectory:
    first = _FirstGradients()
    trainer.add_callback(first)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    weights = {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()}
    return Trajectory(losses, first.gradients, weights)


class _FirstGradients(TrainerCallback):
    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, _args: TrainingArguments, _state: object, _control: object, **kwargs) -> None:
        if not self.gradients:
            named = kwargs["model"].named_parameters()
            self.gradients = {name: item.grad.clone() for name, item in named if item.grad is not None}


def same_prompt(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """Return 20 steps of eight pairs with one prompt each: TRL's trainer knows no pairs with two."""
    single = [pair for pair in pairs if pair.chosen_prompt == pair.rejected_prompt]
    return (single * 8)[: 8 * STEPS]


def mixed(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """Return eight steps of eight pairs, some with two prompts."""
    return (list(pairs) * 2)[:64]


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize("sharing", [False, True])
def test_twenty_steps_equal_trls_trainer(
    architecture: str,
    sharing: bool,
    base_of: Callable[[str], Path],
    pairs: list[PreferencePair],
    tmp_path: Path,
) -> None:
    base, visits = base_of(architecture), same_prompt(pairs)
    settings = TRL_LIKE.model_copy(update={"prefix_sharing": sharing})
    assert_equal_within(ours(base, visits, settings, tmp_path), trls(base, visits, settings, tmp_path), 1e-5)


@pytest.fixture(scope="module")
def whole_steps(base: Path, pairs: list[PreferencePair], tmp_path_factory: pytest.TempPathFactory):
    """Return, per NLL, what batches of eight with shared prefixes train."""
    work = tmp_path_factory.mktemp("work")
    settings = {"answer": ANSWER_ONLY, "prompt_and_answer": TRL_LIKE}
    return {nll: ours(base, mixed(pairs), setting, work) for nll, setting in settings.items()}


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 1, "gradient_accumulation": 8},
        {"batch_size": 4, "gradient_accumulation": 2},
        {"prefix_sharing": False},
        {"packing": True},
        {"prefix_sharing": False, "packing": True},
        {"gradient_checkpointing": True},
        {"logit_rows": 7},
    ],
    ids=lambda change: ",".join(f"{name}={value}" for name, value in change.items()),
)
@pytest.mark.parametrize("nll", ["answer", "prompt_and_answer"])
def test_a_different_way_to_compute_a_step_changes_nothing(
    change: dict[str, object],
    nll: str,
    whole_steps: dict[str, Trajectory],
    base: Path,
    pairs: list[PreferencePair],
    tmp_path: Path,
) -> None:
    changed = TRL_LIKE.model_copy(update={"nll": nll, **change})
    assert_equal_within(ours(base, mixed(pairs), changed, tmp_path), whole_steps[nll], 1e-5)


@pytest.mark.parametrize("change", [{"prefix_sharing": False}, {"batch_size": 1, "gradient_accumulation": 8}])
def test_lora_trains_alike_in_every_layout(
    change: dict[str, object], base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    settings = ANSWER_ONLY.model_copy(update={"lora": LoraSettings(rank=4, alpha=8)})
    expected = ours(base, mixed(pairs), settings, tmp_path)
    found = ours(base, mixed(pairs), settings.model_copy(update=change), tmp_path)
    assert_equal_within(found, expected, 1e-5)
    assert all("lora" in name for name in expected.gradients)


def test_answer_only_nll_leaves_the_prompt_out_of_the_loss(
    base: Path, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    answer = ours(base, pairs[:8], ANSWER_ONLY, tmp_path)
    whole = ours(base, pairs[:8], TRL_LIKE, tmp_path)
    assert answer.losses != whole.losses


def test_bfloat16_trains_close_to_float32(base: Path, pairs: list[PreferencePair], tmp_path: Path) -> None:
    half = ours(base, mixed(pairs), ANSWER_ONLY.model_copy(update={"precision": "bfloat16"}), tmp_path)
    full = ours(base, mixed(pairs), ANSWER_ONLY, tmp_path)
    assert half.losses == pytest.approx(full.losses, rel=0.02)
    assert half.losses != full.losses


def test_models_with_sliding_windows_compute_each_sequence_by_itself(
    base_of: Callable[[str], Path], pairs: list[PreferencePair], tmp_path: Path
) -> None:
    loaded = load_base(base_of("qwen2"))
    loaded.model.config.layer_types = ["sliding_attention", "full_attention"]
    encoded, _ = encode_pairs(loaded.tokenizer, pairs[:4], 512)
    trainer = orpo_trainer(loaded, encoded, [], ANSWER_ONLY, Workplace(tmp_path, None), 0)
    assert trainer.data_collator(encoded)["attention_mask"] is None
