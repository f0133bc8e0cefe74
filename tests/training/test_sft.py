from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mats_sql.agents.messages import as_dicts, user
from mats_sql.config import LoraSettings, SftSettings
from mats_sql.digests import digest_tree
from mats_sql.errors import TrainingError
from mats_sql.layers import adapters_of, base_of, load_weights
from mats_sql.teaching.example import SftExample
from mats_sql.training.sft import train_sft

FAST = SftSettings(batch_size=8, epochs=1, learning_rate=1e-3, checkpoint_steps=2, max_tokens=256)
LORA = LoraSettings(rank=4, alpha=8)


class Killed(Exception):
    """The training was stopped from outside."""


def train(examples: list[SftExample], base: Path, out: Path, **changes):
    """Train and return (report, metrics per step); ``stop_at`` raises at a step."""
    stop_at, checkpoints = changes.pop("stop_at", None), changes.pop("checkpoints", None)
    heard: list[tuple[int, dict[str, float]]] = []

    def hear(step: int, metrics: Mapping[str, float]) -> None:
        if step == stop_at:
            raise Killed
        heard.append((step, dict(metrics)))

    settings = FAST.model_copy(update=changes)
    report = train_sft(
        examples, base=base, out=out, settings=settings, seed=7, on_metrics=hear, checkpoints=checkpoints
    )
    return report, heard


def test_a_trained_model_answers_as_its_examples_did(base: Path, tmp_path: Path) -> None:
    lesson = [SftExample(f"e{index}", user("table singer"), "select name") for index in range(8)]
    _, heard = train(lesson, base, tmp_path / "out", epochs=60, learning_rate=5e-3)
    model, tokenizer = (kind.from_pretrained(tmp_path / "out") for kind in (AutoModelForCausalLM, AutoTokenizer))
    prompt = tokenizer.apply_chat_template(
        as_dicts(user("table singer")), add_generation_prompt=True, return_tensors="pt"
    )
    answer = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "select name<|end|>"
    assert heard[-1][1]["loss"] < 0.1 < heard[0][1]["loss"]


def test_the_loss_equals_that_of_trls_own_trainer_on_the_conversations(
    base: Path, examples: list[SftExample], tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    _, heard = train(examples[:8], base, tmp_path / "out", batch_size=4, gradient_accumulation=2)
    conversations = [
        {"prompt": as_dicts(item.messages), "completion": [{"role": "assistant", "content": item.answer}]}
        for item in examples[:8]
    ]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=SFTConfig(
            output_dir=str(tmp_path / "trl"),
            per_device_train_batch_size=8,
            num_train_epochs=1,
            use_cpu=True,
            bf16=False,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list(conversations),
        processing_class=AutoTokenizer.from_pretrained(base),
    )
    trainer.train()
    theirs = trainer.state.log_history[0]
    assert heard[0][1]["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
    assert heard[0][1]["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("changes", [{}, {"lora": LoraSettings(rank=2, dropout=0.2)}], ids=["full", "lora_dropout"])
def test_a_stopped_training_continues_to_the_same_bytes_and_metrics(
    changes: dict[str, object], base: Path, examples: list[SftExample], tmp_path: Path
) -> None:
    straight = train(examples, base, tmp_path / "straight", **changes)
    where = {"checkpoints": tmp_path / "checkpoints", **changes}
    with pytest.raises(Killed):
        train(examples, base, tmp_path / "resumed", stop_at=4, **where)
    assert train(examples, base, tmp_path / "resumed", **where) == straight
    assert digest_tree(tmp_path / "resumed") == digest_tree(tmp_path / "straight")


def test_the_result_depends_on_the_seed_alone(base: Path, examples: list[SftExample], tmp_path: Path) -> None:
    torch.manual_seed(1)
    train(examples, base, tmp_path / "first")
    torch.manual_seed(2)
    train(examples, base, tmp_path / "second")
    assert digest_tree(tmp_path / "first") == digest_tree(tmp_path / "second")


def test_accumulating_small_batches_equals_one_large_batch(
    base: Path, examples: list[SftExample], tmp_path: Path
) -> None:
    train(examples, base, tmp_path / "large", batch_size=8)
    train(examples, base, tmp_path / "small", batch_size=1, gradient_accumulation=8)
    large, small = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("large", "small"))
    torch.testing.assert_close(dict(large.state_dict()), dict(small.state_dict()), atol=1e-5, rtol=0)


def test_a_lora_checkpoint_predicts_like_its_adapters_one_upon_the_other(
    base: Path, examples: list[SftExample], tmp_path: Path
) -> None:
    from peft import PeftModel

    train(examples, base, tmp_path / "first", lora=LORA)
    train(examples, tmp_path / "first", tmp_path / "second", lora=LORA)
    ids, logits = torch.arange(4, 40)[None], []
    adapted = AutoModelForCausalLM.from_pretrained(base)
    for count, name in enumerate(("first", "second"), 1):
        *below, newest = adapters_of(tmp_path / name)
        assert len(below) == count - 1
        adapted = PeftModel.from_pretrained(adapted, newest).merge_and_unload()
        logits.append(load_weights(tmp_path / name, torch.float32)(ids).logits)
        torch.testing.assert_close(logits[-1], adapted(ids).logits, atol=1e-4, rtol=1e-4)
    assert not torch.equal(logits[0], AutoModelForCausalLM.from_pretrained(base)(ids).logits)
    assert not torch.equal(logits[0], logits[1])


def test_a_lora_training_adds_its_adapter_alone_to_the_disk(
    base: Path, examples: list[SftExample], tmp_path: Path
) -> None:
    train(examples, base, tmp_path / "first", lora=LORA)
    train(examples, tmp_path / "first", tmp_path / "second", lora=LORA)
    *_, newest = adapters_of(tmp_path / "second")
    own = {path.parent for path in (tmp_path / "second").rglob("*") if path.is_file() and path.stat().st_nlink == 1}
    assert own == {newest}, "all else are links"


def test_frozen_weights_in_bfloat16_train_float32_adapters_and_are_written_as_they_came(
    base: Path, examples: list[SftExample], tmp_path: Path
) -> None:
    half_frozen = LORA.model_copy(update={"frozen": "bfloat16"})
    in_half, _ = train(examples, base, tmp_path / "half", lora=half_frozen)
    in_full, _ = train(examples, base, tmp_path / "full", lora=LORA)
    assert in_half.metrics["train_loss"] == pytest.approx(in_full.metrics["train_loss"], rel=0.02)
    (folder,) = adapters_of(tmp_path / "half")
    adapter = load_file(folder / "adapter_model.safetensors")
    assert {weight.dtype for weight in adapter.values()} == {torch.float32}
    assert digest_tree(base_of(tmp_path / "half")) == digest_tree(base)


def test_where_frozen_weights_are_is_in_no_older_settings() -> None:
    assert "frozen" not in LORA.model_dump(mode="json")
    assert LORA.model_copy(update={"frozen": "bfloat16"}).model_dump(mode="json")["frozen"] == "bfloat16"


@pytest.mark.parametrize("targets", ["all-linear", "v_proj, down_proj, q_proj, up_proj, k_proj, o_proj, gate_proj"])
def test_an_adapters_target_modules_are_written_in_one_order(
    targets: str, base: Path, examples: list[SftExample], tmp_path: Path
) -> None:
    train(examples[:8], base, tmp_path / "out", lora=LORA.model_copy(update={"target_modules": targets}))
    (adapter,) = adapters_of(tmp_path / "out")
    written = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    assert len(written) >= 7, "so many are in order by chance once in five thousand times"
    assert written == sorted(written)


def test_over_long_examples_are_dropped_and_listed(base: Path, examples: list[SftExample], tmp_path: Path) -> None:
    long = SftExample("long", user("age " * 400), "select")
    report, _ = train([*examples[:8], long], base, tmp_path / "out")
    train(examples[:8], base, tmp_path / "without")
    assert report.dropped == ("long",)
    assert digest_tree(tmp_path / "out") == digest_tree(tmp_path / "without")


def test_no_usable_example_is_one_line(base: Path, examples: list[SftExample], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="at least one example") as caught:
        train(examples, base, tmp_path / "out", max_tokens=2)
    assert "\n" not in str(caught.value)


def test_no_more_examples_are_used_than_the_limit(base: Path, examples: list[SftExample], tmp_path: Path) -> None:
    _, heard = train(examples, base, tmp_path / "out", max_examples=9)
    assert len(heard) == 2


def test_half_precision_files_stay_half_precision(base: Path, examples: list[SftExample], tmp_path: Path) -> None:
    half = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "half")
    train(examples[:8], tmp_path / "half", tmp_path / "out")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").dtype == torch.bfloat16
