"""A run's life: opened or continued, and closed in the state that is true."""

from __future__ import annotations

import getpass
import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from mats_sql.errors import StageStopped, TrackingError
from mats_sql.tracking import names
from mats_sql.tracking.commit import UNKNOWN, code_commit
from mats_sql.tracking.failures import one_line, tracking_failures
from mats_sql.tracking.models import drop_unfinished_models
from mats_sql.tracking.store import Store

_logger = logging.getLogger(__name__)

_PREFIX = re.compile(r"[0-9a-f]{4,31}")
_SHOWN = 3


def find_run(store: Store, reference: str) -> str:
    """Return the id of the run that an id, or its first four digits or more, names.

    Beginnings are looked for in this project's experiments. Raises :class:`TrackingError` when no run, or more than
    one, begins so.
    """
    if _PREFIX.fullmatch(reference) is None:
        return str(store.run(reference).info.run_id)
    return find_beginning(store, reference)


def find_beginning(store: Store, reference: str) -> str:
    """Return the id of the one run whose id begins so; raises :class:`TrackingError` for none and for several."""
    remedy = "give a run id that the MLflow UI shows"
    with tracking_failures(f"a run must begin with {reference!r}", remedy):
        found = store.client.search_runs(
            store.experiment_ids, f"attributes.run_id LIKE '{reference}%'", max_results=_SHOWN + 1
        )
    ids = [str(run.info.run_id) for run in found]
    if len(ids) != 1:
        shown = ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")
        what = f"several do: {shown}; give more of the id" if ids else f"none does; {remedy}"
        raise TrackingError(f"one run must begin with {reference!r}, but {what}")
    return ids[0]


def open_run(store: Store, title: str, tags: Mapping[str, str], parent: str | None, note: Path) -> str:
    """Return a RUNNING run for this work: the one ``mlflow run`` made, else the one a kill left, else a new one.

    ``note`` is the file beside the work that names its run. A killed run that is not continued becomes KILLED.
    """
    left = _left_by_a_kill(store, note)
    launched = store.take_launched_run() if parent is None else None
    if left is not None and launched is not None and left != launched:
        store.client.set_terminated(left, "KILLED")
        left = None
    run_id = launched or left
    if run_id is None:
        run = store.client.create_run(store.experiment_id, run_name=title, tags=_source_tags())
        run_id = run.info.run_id
    else:
        store.client.update_run(run_id, status="RUNNING", name=title)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(run_id, "utf-8")
    if run_id == left:
        drop_unfinished_models(store, run_id)
    wanted = dict(tags) if parent is None else {**tags, "mlflow.parentRunId": parent}
    pairs = [RunTag(names.key(key), names.capped(value, names.MAX_TAG_CHARACTERS)) for key, value in wanted.items()]
    store.client.log_batch(run_id, tags=pairs)
    return run_id


def close_run(store: Store, run_id: str, error: BaseException | None) -> None:
    """Set a run's final state. A store that fails here must not hide the error that ended the run."""
    if error is None:
        store.client.set_terminated(run_id, "FINISHED")
        return
    try:
        store.client.set_tag(run_id, names.ERROR, one_line(error))
        store.client.set_terminated(
            run_id, "KILLED" if isinstance(error, KeyboardInterrupt | StageStopped) else "FAILED"
        )
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as failure:
        _logger.warning("run %s could not be marked as failed: %s", run_id, one_line(failure))


def drop_if_empty(store: Store, run_id: str) -> bool:
    """Delete the run of a command that began no stage, and return whether it did; one of ``mlflow run`` stays.

    A store that fails here must not hide the error that ended the command.
    """
    try:
        tags = store.client.get_run(run_id).data.tags
        nested = store.client.search_runs(
            [store.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=1
        )
        if nested or "mlflow.project.env" in tags or "mlflow.project.entryPoint" in tags:
            return False
        store.client.delete_run(run_id)
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as failure:
        _logger.warning("run %s could not be deleted: %s", run_id, one_line(failure))
        return False
    return True


def _left_by_a_kill(store: Store, note: Path) -> str | None:
    """Return the noted run unless it ended by itself; a failed one stays as a record of its failure."""
    if not note.exists():
        return None
    try:
        run = store.client.get_run(note.read_text("utf-8"))
    except MlflowException:  # another store, or deleted
        return None
    alive = run.info.lifecycle_stage == "active" and run.info.experiment_id == store.experiment_id
    return run.info.run_id if alive and run.info.status in ("RUNNING", "SCHEDULED", "KILLED") else None


def _source_tags() -> dict[str, str]:
    commit = code_commit()
    tags = {
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": Path(sys.argv[0]).name or "python",
        "mlflow.source.type": "LOCAL",
    }
    return tags if commit == UNKNOWN else {**tags, "mlflow.source.git.commit": commit.removesuffix("-dirty")}
