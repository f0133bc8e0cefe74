"""Where runs are tracked: one experiment of one MLflow store."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from mats_sql.errors import TrackingError, without_password
from mats_sql.tracking import names
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.lock import exclusive
from mats_sql.tracking.patience import PROBE_TIMEOUT_S, impatient

_SQLITE = "sqlite:///"


class Store:
    """A connection to one experiment, and the local folder for unfinished work and downloaded outputs.

    ``reused`` collects, per open parent run, the finished runs (title to run id) that took the place of nested ones.
    """

    def __init__(self, client: MlflowClient, experiment: Experiment, work_dir: Path, launched_run: str | None) -> None:
        self.client = client
        self.experiment_id: str = experiment.experiment_id
        self.experiment_name: str = experiment.name
        self.tracking_uri: str = client.tracking_uri
        self.work_dir = work_dir.resolve()
        self.reused: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._launched_run = launched_run
        self._experiment_ids: list[str] | None = None

    def take_launched_run(self) -> str | None:
        """Return the run that ``mlflow run`` made for this process, to the first who asks."""
        launched, self._launched_run = self._launched_run, None
        return launched

    @property
    def experiment_ids(self) -> list[str]:
        """All experiments of this project in the store: finished work is reused across them."""
        if self._experiment_ids is None:
            found = self.client.search_experiments(
                filter_string=f"tags.`{names.PROJECT}` = '{names.PROJECT_NAME}'", max_results=1000
            )
            self._experiment_ids = sorted({self.experiment_id, *(item.experiment_id for item in found)})
        return self._experiment_ids

    def run(self, run_id: str) -> Run:
        """Return a run; raises :class:`TrackingError` when there is none with this id."""
        remedy = "give a run id that the MLflow UI shows"
        with tracking_failures(f"a run must exist in {self.tracking_uri}", remedy):
            return self.client.get_run(run_id)

    def describe(self, run_id: str, description: str = "") -> None:
        """Write a run's description, and below it what the run reused, with links."""
        found = sorted(self.reused.pop(run_id, {}).items())
        links = (f"* [{title}](#/experiments/{self.experiment_id}/runs/{reused})" for title, reused in found)
        parts = [description, "Reused finished runs:\n\n" + "\n".join(links) if found else ""]
        note = "\n\n".join(part for part in parts if part)
        if note:
            self.client.set_tag(run_id, names.NOTE, names.capped(note, names.MAX_TAG_CHARACTERS))


def connect(experiment_name: str, work_dir: Path) -> Store:
    """Connect to the store of ``MLFLOW_TRACKING_URI``, by default ``sqlite:///mlflow.db`` in the current folder.

    A process that ``mlflow run`` launched uses the experiment and run made for it; elsewhere the experiment is
    ``experiment_name``, made when missing. ``MLFLOW_RUN_ID`` is taken out of the environment so that no later run
    inherits it. Raises :class:`TrackingError` within seconds when the store cannot be reached.
    """
    for talkative in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    uri = tracking_uri()
    launched = os.environ.pop("MLFLOW_RUN_ID", None)
    remedy = "start the server, or set MLFLOW_TRACKING_URI to another store"
    _require_writable(work_dir)
    with (
        tracking_failures(f"the MLflow store {without_password(uri)} must answer", remedy, OSError, ImportError),
        exclusive(_store_lock(uri, work_dir), "the store", brief=True),  # one makes MLflow's tables
        impatient(),
    ):
        probe_database(uri)
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(tracking_uri=uri)
        experiment, run = _launched_experiment(client, launched) or (_experiment(client, experiment_name), None)
        _require_own_place(uri, experiment)
        _mark(client, experiment)
    return Store(client, experiment, work_dir, run)


def tracking_uri() -> str:
    """Return the address of the store that commands use."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def _store_lock(uri: str, work_dir: Path) -> Path:
    """Return where those who may make one store's tables meet: beside a SQLite file, else in the working folder."""
    file = sqlalchemy.make_url(uri).database if uri.startswith(_SQLITE) else None
    if not file or file == ":memory:" or not Path(file).parent.is_dir():
        return work_dir / "locks" / "store.lock"
    return Path(f"{file}.lock")


def _launched_experiment(client: MlflowClient, run_id: str | None) -> tuple[Experiment, str] | None:
    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None  # a stale variable of another store: an ordinary start
    return client.get_experiment(run.info.experiment_id), run_id


def _experiment(client: MlflowClient, name: str) -> Experiment:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            found = client.get_experiment(client.create_experiment(name))
        except MlflowException:  # another process made it in between
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(f"an experiment must be active, but {name!r} is deleted; restore it or choose another name")
    return found


def _require_own_place(uri: str, experiment: Experiment) -> None:
    """Refuse a store that was copied or moved with its artifacts: MLflow keeps their place as an absolute path.

    Its runs would be listed here, while their files would be written to, and read from, where it was before.
    """
    stored = urlsplit(experiment.artifact_location or "")
    if not uri.startswith(_SQLITE) or stored.scheme not in ("", "file"):
        return
    database, location = Path(uri.removeprefix(_SQLITE)).resolve(), Path(stored.path).resolve()
    beside = database.parent / location.parent.name / location.name
    if not location.is_relative_to(database.parent) and beside.is_dir():
        raise TrackingError(
            f"a store must be where it was made, but {database} was copied or moved: its artifacts would go to "
            f"{location} and not to {beside}; move it back, or set MLFLOW_TRACKING_URI to a new store"
        )


def _require_writable(work_dir: Path) -> None:
    """Raise :class:`TrackingError` unless files can be written to a folder, which is made."""
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=work_dir) as file:
            file.write(b"0")
    except OSError as error:
        raise TrackingError(
            f"work_dir must be a folder that can be written to, but {work_dir}: {error.strerror}; make it writable or "
            "set another work_dir"
        ) from error


def _mark(client: MlflowClient, experiment: Experiment) -> None:
    if experiment.tags.get(names.PROJECT) != names.PROJECT_NAME:
        client.set_experiment_tag(experiment.experiment_id, names.PROJECT, names.PROJECT_NAME)
        client.set_experiment_tag(experiment.experiment_id, names.EXPERIMENT_KIND, names.EXPERIMENT_KIND_TRAINING)


def probe_database(uri: str) -> None:
    """Connect once to a database server: MLflow itself retries an unreachable one for a minute and a half."""
    if not uri.startswith(("postgresql", "mysql", "mssql")):
        return
    engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": PROBE_TIMEOUT_S})
    try:
        engine.connect().close()
    finally:
        engine.dispose()
