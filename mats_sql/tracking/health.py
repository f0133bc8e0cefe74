"""Whether a tracking store can be used, found out without making an experiment in it."""

from __future__ import annotations

import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from mats_sql.errors import TrackingError, without_password
from mats_sql.tracking.failures import one_line, tracking_failures
from mats_sql.tracking.patience import impatient
from mats_sql.tracking.publish import local_folder
from mats_sql.tracking.store import probe_database, tracking_uri

_DEFAULT_EXPERIMENT = "0"


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What a store can do; each problem is one line, empty where there is none.

    ``is_new`` says that the store is a database file which the first command will make, so nothing was asked of it.
    ``artifacts`` is where outputs will go; ``folder`` the same on this machine, or None on a server.
    """

    uri: str
    is_new: bool
    registry_problem: str
    artifacts: str
    artifact_problem: str
    folder: Path | None


def store_health(experiment_name: str) -> StoreHealth:
    """Look at the store of ``MLFLOW_TRACKING_URI``: does it answer, has it a registry, can artifacts be written.

    Nothing is made but a small file among the artifacts, which is deleted again. Raises :class:`TrackingError` when the
    store does not answer within seconds.
    """
    uri = tracking_uri()
    shown = without_password(uri)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        folder = Path.cwd() / "mlruns"
        database = Path(uri.removeprefix("sqlite:///"))
        problem = _unwritable(database.parent) or _unwritable(folder)
        return StoreHealth(shown, True, "", str(folder), problem, folder)
    remedy = "start the server, or set MLFLOW_TRACKING_URI to another store"
    with impatient(), tracking_failures(f"the MLflow store {shown} must answer", remedy, OSError, ImportError):
        probe_database(uri)
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(experiment_name)
        if experiment is not None and experiment.lifecycle_stage != "active":
            raise TrackingError(f"an experiment must be active, but {experiment_name!r} is deleted; restore it")
        location = (experiment or client.get_experiment(_DEFAULT_EXPERIMENT)).artifact_location
        registry = _registry_problem(client)
        problem = _artifact_problem(location)
    return StoreHealth(shown, False, registry, location, problem, local_folder(location))


def _registry_problem(client: MlflowClient) -> str:
    try:
        client.search_registered_models(max_results=1)
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        return one_line(error)
    return ""


def _artifact_problem(location: str) -> str:
    folder = local_folder(location)
    if folder is not None:
        return _unwritable(folder)
    name = f"doctor-{uuid.uuid4().hex}.txt"
    try:
        repository = get_artifact_repository(location)
        with tempfile.TemporaryDirectory() as temporary:
            probe = Path(temporary) / name
            probe.write_text("written by mats-sql doctor, to be deleted\n", encoding="utf-8")
            repository.log_artifact(str(probe))
        repository.delete_artifacts(name)
    except NotImplementedError:  # a kind of storage that deletes nothing: the file stays
        return ""
    except Exception as error:  # noqa: BLE001 (every storage's client raises its own)
        return one_line(error)
    return ""


def _unwritable(folder: Path) -> str:
    """Return why a folder, or the nearest one above it that exists, cannot be written to."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return "" if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK) else f"{existing} cannot be written to"
