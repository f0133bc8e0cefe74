"""Checkpoint and team folders as MLflow models.

MLflow's transformers flavor takes no checkpoint folder with transformers 5 and saves PEFT adapters wrongly, and its
pyfunc flavor copies everything twice and probes requirements in a subprocess. So the few files that make a folder an
MLflow model are written here with MLflow's own classes, next to the folder as it is: what one downloads of a model is
what transformers and vLLM load, or after LoRA a base and its adapters. Beside it lies the code that answers
(``model_code``), so that the environment which MLflow restores needs no copy of this package.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
import yaml
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.utils.environment import _PythonEnv

from mats_sql.digests import digest_tree
from mats_sql.tracking import names
from mats_sql.tracking.artifact import ArtifactKind, ArtifactRecord, label
from mats_sql.tracking.bases import KeptBase, bases_of, write_without_bases
from mats_sql.tracking.lock import exclusive
from mats_sql.tracking.model_code import copy_code, requirements
from mats_sql.tracking.publish import local_folder, publish
from mats_sql.tracking.store import Store

_CODE = "code"
_NOT_IN_MODEL_NAMES = str.maketrans(dict.fromkeys("/:.%\"'", "-"))


@dataclass(frozen=True, slots=True)
class _Flavor:
    """How one kind of model is loaded, and what its ``predict`` takes and gives."""

    loader: str
    inputs: Schema
    outputs: Schema


_FLAVORS = {
    ArtifactKind.MODEL: _Flavor(
        "mats_sql.tracking.agent_model",
        Schema([ColSpec(DataType.string, "prompt")]),
        Schema([ColSpec(DataType.string, "text")]),
    ),
    ArtifactKind.TEAM: _Flavor(
        "mats_sql.tracking.team_model",
        Schema(
            [
                ColSpec(DataType.string, "question"),
                ColSpec(DataType.string, "database"),
                ColSpec(DataType.string, "evidence", required=False),
            ]
        ),
        Schema(
            [
                ColSpec(DataType.string, "sql"),
                ColSpec(DataType.double, "score", required=False),
                ColSpec(DataType.string, "outcome"),
                ColSpec(DataType.long, "candidates"),
                ColSpec(DataType.string, "error"),
            ]
        ),
    ),
}


def publish_model(store: Store, record: ArtifactRecord, source: Path, *, owned: bool = True) -> ArtifactRecord:
    """Store a checkpoint or team folder as an MLflow model made by ``record.run_id``; return where it is.

    The model is READY, and listed by its run, only once its files are complete.
    """
    params = {key: names.capped(value, names.MAX_PARAMETER_CHARACTERS) for key, value in record.metadata.items()}
    tags = {names.DIGEST: record.digest, names.KIND: record.kind.value}
    name = label(record.name, record.kind, record.metadata).translate(_NOT_IN_MODEL_NAMES)
    model = store.client.create_logged_model(
        store.experiment_id, name, record.run_id, tags=tags, params=params, model_type=record.kind.value
    )
    uri = _publish_files(store, source, model.artifact_location, record.kind.value, owned=owned)
    with tempfile.TemporaryDirectory(dir=store.work_dir) as folder:
        _describe(Path(folder), model.model_id, record)
        store.client.log_model_artifacts(model.model_id, folder)
    store.client.finalize_logged_model(model.model_id, "READY")
    store.client.log_outputs(record.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return ArtifactRecord(
        record.role, record.name, record.kind, record.digest, record.run_id, uri, model.model_id, record.metadata
    )


def _publish_files(store: Store, source: Path, root: str, folder: str, *, owned: bool) -> str:
    """Store a model's files; on a server without the bases of its layers, which it keeps once."""
    if local_folder(root) or not bases_of(source):
        return publish(source, root, folder, owned=owned)
    with tempfile.TemporaryDirectory(dir=store.work_dir) as temporary:
        write_without_bases(source, Path(temporary) / source.name, lambda base: _kept(store, base))
        return publish(Path(temporary) / source.name, root, folder, owned=owned)


def _kept(store: Store, base: Path) -> KeptBase:
    """Return where the store keeps a base: an MLflow model of no run, made by the first model that needs it."""
    digest = digest_tree(base)
    wanted = f"tags.`{names.DIGEST}` = '{digest}' AND tags.`{names.KIND}` = '{names.BASE}'"
    with exclusive(store.work_dir / "locks" / f"base-{digest[:32]}.lock", f"the upload of the base {digest[:12]}"):
        for model in store.client.search_logged_models(store.experiment_ids, filter_string=wanted):
            uri = f"{model.artifact_location.rstrip('/')}/{names.BASE}"
            if model.status == LoggedModelStatus.READY and mlflow.artifacts.list_artifacts(artifact_uri=uri):
                return KeptBase(digest, uri)
        tags = {names.DIGEST: digest, names.KIND: names.BASE}
        model = store.client.create_logged_model(
            store.experiment_id, f"{names.BASE}-{digest[:12]}", tags=tags, model_type=names.BASE
        )
        uri = publish(base, model.artifact_location, names.BASE)
        store.client.finalize_logged_model(model.model_id, "READY")
    return KeptBase(digest, uri)


def _describe(folder: Path, model_id: str, record: ArtifactRecord) -> None:
    flavor = _FLAVORS[record.kind]
    model = Model(
        run_id=record.run_id,
        model_id=model_id,
        signature=ModelSignature(inputs=flavor.inputs, outputs=flavor.outputs),
        metadata={names.DIGEST: record.digest, **record.metadata},
    )
    mlflow.pyfunc.add_to_model(
        model,
        loader_module=flavor.loader,
        data=record.kind.value,
        code=_CODE,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    model.save(str(folder / "MLmodel"))
    copy_code(folder / _CODE)
    _describe_environment(folder)


def _describe_environment(folder: Path) -> None:
    environment, needed = _PythonEnv.current(), requirements()
    environment.to_yaml(str(folder / "python_env.yaml"))
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n")
    conda = {
        "name": names.PROJECT_NAME,
        "channels": ["conda-forge"],
        "dependencies": [f"python={environment.python}", "pip", {"pip": list(needed)}],
    }
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda))


def drop_unfinished_models(store: Store, run_id: str) -> None:
    """Delete the models that a killed attempt of a run had already made."""
    for model in store.client.search_logged_models([store.experiment_id], filter_string=f"source_run_id = '{run_id}'"):
        store.client.delete_logged_model(model.model_id)
