"""A stage's inputs as MLflow shows them: datasets with digest, schema and size, and models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput

from mats_sql.tracking import names
from mats_sql.tracking.artifact import Artifact
from mats_sql.tracking.lock import exclusive
from mats_sql.tracking.publish import local_folder
from mats_sql.tracking.store import Store


def log_inputs(store: Store, run_id: str, inputs: Iterable[tuple[str, Artifact]]) -> None:
    """Record the (role, artifact) inputs of a run in one call."""
    datasets, models = [], []
    for role, artifact in inputs:
        if artifact.model_id:
            models.append(LoggedModelInput(artifact.model_id))
        else:
            datasets.append(DatasetInput(dataset_of(artifact), [InputTag("mlflow.data.context", role)]))
    if datasets or models:
        # MLflow looks for a dataset and then inserts it: of two processes with the same new one, the later would fail
        with exclusive(store.work_dir / "locks" / "inputs.lock", "the list of inputs", brief=True):
            store.client.log_inputs(run_id, datasets=datasets, models=models)


def dataset_of(artifact: Artifact) -> Dataset:
    """Return an artifact as an MLflow dataset.

    MLflow's own digests come from a sample of a data frame; here the digest is the beginning of the content's
    SHA-256, so that equal digests mean equal bytes.
    """
    uri = artifact.uri or str(artifact.path)
    source_type = "local" if local_folder(uri) else "mlflow_artifact"
    schema, profile = _described(artifact.path)
    return Dataset(
        name=artifact.label,
        digest=artifact.digest[: names.MAX_DATASET_DIGEST_CHARACTERS],
        source_type=source_type,
        source=json.dumps({"uri": uri, "run_id": artifact.run_id, "sha256": artifact.digest}),
        schema=schema,
        profile=profile,
    )


def _described(path: Path) -> tuple[str | None, str]:
    """Return MLflow's schema (of a table, or the only table of a folder) and profile, both as JSON."""
    tables = [path] if path.suffix == ".parquet" else sorted(path.glob("*.parquet"))
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    profile: dict[str, int] = {"num_files": len(files), "num_bytes": sum(item.stat().st_size for item in files)}
    if tables:
        profile = {"num_rows": sum(pq.read_metadata(table).num_rows for table in tables), **profile}
    if len(tables) != 1:
        return None, json.dumps(profile)
    columns = [
        {"type": _column_type(column.type), "name": column.name, "required": True}
        for column in pq.read_schema(tables[0])
    ]
    return json.dumps({"mlflow_colspec": columns}), json.dumps(profile)


def _column_type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "long"
    if pa.types.is_floating(kind):
        return "double"
    return "string" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "object"
