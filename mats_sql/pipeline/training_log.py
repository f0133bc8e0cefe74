"""What training runs log alike: their curves, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mats_sql.pipeline.progress import Progress
from mats_sql.tracking import StageRun

_EVALUATION = "eval_"
_SHOWN = ("copy_loss", "loss", "rewards/accuracies", "eval_loss", "eval_rewards/accuracies")
"""What of a step's metrics fits on the live line."""


def log_steps(run: StageRun, progress: Progress, planned: int) -> Callable[[int, Mapping[str, float]], None]:
    """Return a callback that logs one training step's metrics as a curve and shows them beside the steps planned."""

    def on_metrics(step: int, metrics: Mapping[str, float]) -> None:
        values = "  ".join(f"{name} {metrics[name]:.3g}" for name in _SHOWN if name in metrics)
        progress.update(f"step {step} of {planned}  {values}", step, planned)
        run.log_metrics({_curve(name): value for name, value in metrics.items()}, step=step)

    return on_metrics


def log_final(run: StageRun, metrics: Mapping[str, float], *, dropped: int) -> None:
    """Log what a training ends with; the last evaluation's metrics are the last points of their curves."""
    evaluated = {name: value for name, value in metrics.items() if name.startswith(_EVALUATION)}
    run.log_metrics(evaluated, step=int(metrics["train_steps"]))
    rest = {name: value for name, value in metrics.items() if name not in evaluated}
    run.log_metrics({"dropped": dropped, **rest})


def _curve(name: str) -> str:
    return name if name.startswith(_EVALUATION) else f"train/{name}"
