"""A run's metrics on the models that it made or measured: the experiment's Models page ranks models by them."""

from __future__ import annotations

from collections.abc import Iterable

from mlflow.entities import Metric

from mats_sql.tracking.artifact import Artifact
from mats_sql.tracking.inputs import dataset_of
from mats_sql.tracking.machine_load import PREFIX
from mats_sql.tracking.stage_run import MAX_METRICS_PER_CALL, StageRun


def show_on_models(run: StageRun, artifacts: Iterable[Artifact]) -> None:
    """Show a run's last metrics, those from before a kill too, on those of its outputs that are models."""
    for artifact in artifacts:
        if artifact.model_id:
            _show(run, artifact.model_id)


def measure_model(run: StageRun, model: Artifact, data: Artifact) -> None:
    """Show a run's metrics so far on the model that it measured, beside the dataset that it was measured on.

    A model without an MLflow model, such as a base checkpoint, is left as it is.
    """
    if model.model_id:
        dataset = dataset_of(data)
        _show(run, model.model_id, dataset.name, dataset.digest)


def _show(run: StageRun, model_id: str, dataset: str | None = None, digest: str | None = None) -> None:
    """Log the last point of every metric again, with a model; how busy the machine was says nothing of a model.

    MLflow logs a model's metric on its run too. With the step and time that the point has there, it is the same point
    and kept once; with any other it would be one more of the curve.
    """
    run.flush()
    points = run.store.client.get_run(run.run_id).data.to_proto().metrics
    shown = [
        Metric(
            point.key,
            point.value,
            point.timestamp,
            point.step,
            model_id=model_id,
            dataset_name=dataset,
            dataset_digest=digest,
        )
        for point in points
        if not point.key.startswith(PREFIX)
    ]
    for start in range(0, len(shown), MAX_METRICS_PER_CALL):
        run.store.client.log_batch(run.run_id, metrics=shown[start : start + MAX_METRICS_PER_CALL])
