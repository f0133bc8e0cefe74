"""ORPO on transformers' Trainer: the loss over each optimizer step, its metrics, and evaluation over all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from mats_sql.training.orpo_batch import EncodedPair, OrpoBatch
from mats_sql.training.orpo_loss import Denominators, PairScores, metrics_of


class PairDataset(Dataset):  # type: ignore[misc]
    """Encoded pairs in the order in which training visits them."""

    def __init__(self, pairs: Sequence[EncodedPair]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> EncodedPair:
        return self._pairs[index]


class OrpoTrainer(Trainer):  # type: ignore[misc]
    """Trainer of a model with a scorer attached (:func:`~mats_sql.training.token_logps.attach_scorer`)."""

    def __init__(self, *, beta: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = True  # the loss is divided by the whole step's counts, not by micro-batches
        self._beta = beta
        self._step_sums: list[torch.Tensor] = []

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: OrpoBatch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """Return the micro-batch's share of the step's loss, scaled so that averaging over processes adds it up."""
        scores = score_pairs(model, inputs)
        counts = num_items_in_batch if num_items_in_batch is not None else _counts(inputs)
        whole = Denominators(nll_tokens=counts[0], pairs=counts[1])
        loss = scores.loss(self._beta, whole) * self.accelerator.num_processes
        self._step_sums.append(scores.sums(inputs["in_nll"].sum()))
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the step's pair metrics to its log."""
        if "loss" in logs and self._step_sums:
            logs.update(metrics_of(self._over_processes(self._step_sums), self._beta))
        self._step_sums = []
        super().log(logs, start_time)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        *_: object,
        metric_key_prefix: str = "eval",
        **__: object,
    ) -> EvalLoopOutput:
        """Return the loss and metrics over all pairs at once, so that the batch size changes nothing."""
        model = self._wrap_model(self.model, training=False, dataloader=dataloader)
        model.eval()
        sums = []
        for batch in dataloader:
            inputs = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                sums.append(score_pairs(model, inputs).sums(inputs["in_nll"].sum()))
        metrics = dict(metrics_of(self._over_processes(sums), self._beta))
        metrics["loss"] = metrics["nll_loss"] - self._beta * metrics["log_odds_ratio"]
        named = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=(), label_ids=None, metrics=named, num_samples=self.num_examples(dataloader))

    def final_evaluation(self) -> dict[str, float]:
        """Return the evaluation metrics of the trained model, from the last step's evaluation where there was one."""
        evaluated = [entry for entry in self.state.log_history if "eval_loss" in entry]
        if not evaluated or evaluated[-1]["step"] != self.state.global_step:
            self.evaluate()
            evaluated = self.state.log_history
        last = evaluated[-1]
        return {name: value for name, value in last.items() if name.startswith("eval_") and not _is_speed(name)}

    def _get_num_items_in_batch(self, batch_samples: list[OrpoBatch], device: torch.device) -> torch.Tensor | None:
        """Return the step's [NLL tokens, pairs] over its micro-batches and all processes."""
        if not batch_samples:
            return None
        counts = torch.stack([_counts(batch) for batch in batch_samples]).sum(0).to(device)
        return self.accelerator.reduce(counts, "sum")

    def _over_processes(self, sums: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.accelerator.reduce(torch.stack(list(sums)).sum(0), "sum").cpu()


def score_pairs(model: torch.nn.Module, batch: OrpoBatch) -> PairScores:
    """Run the model on a batch and gather its scored positions into answers and the NLL."""
    inputs: Mapping[str, Any] = {
        name: batch[name] for name in ("input_ids", "position_ids", "attention_mask", "scored_rows", "scored_tokens")
    }
    log_probs = model(**inputs)
    answers = batch["answer_slots"] >= 0
    totals = log_probs.new_zeros(len(batch["answer_lengths"]))
    totals = totals.index_add(0, batch["answer_slots"][answers], log_probs[answers])
    means = (totals / batch["answer_lengths"]).view(len(totals) // 2, 2)
    return PairScores(means[:, 0], means[:, 1], nll_sum=-log_probs[batch["in_nll"]].sum())


def _counts(batch: OrpoBatch) -> torch.Tensor:
    nll_tokens = batch["in_nll"].sum()
    return torch.stack([nll_tokens, torch.full_like(nll_tokens, len(batch["answer_lengths"]) // 2)])


def _is_speed(name: str) -> bool:
    return name.endswith(("runtime", "_per_second"))
