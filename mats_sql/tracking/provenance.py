"""What a run was: its stage, settings, metrics and inputs; and how an address leads to an output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mats_sql.errors import StageInputError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import Artifact, ArtifactKind, ArtifactRecord
from mats_sql.tracking.publish import fetch
from mats_sql.tracking.registry import is_version, resolve, versions_of_content
from mats_sql.tracking.runs import find_run
from mats_sql.tracking.stage import load_result, read_records
from mats_sql.tracking.store import Store


@dataclass(frozen=True, slots=True)
class Provenance:
    """A finished run. ``inputs`` go by role; ``settings`` are its MLflow parameters, dotted."""

    run_id: str
    stage: str
    commit: str
    settings: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    inputs: Mapping[str, ArtifactRecord]


def provenance_of(store: Store, run_id: str) -> Provenance:
    """Return what a run was.

    Raises :class:`TrackingError` for an unknown run and :class:`StageInputError` for one that no stage made.
    """
    run = store.run(run_id)
    data = run.data
    return Provenance(
        run_id,
        data.tags.get(names.STAGE, ""),
        data.tags.get(names.COMMIT, ""),
        dict(data.params),
        dict(data.metrics),
        dict(data.tags),
        read_records(run, names.INPUTS_FILE),
    )


def outputs_at(store: Store, address: str) -> dict[str, Artifact]:
    """Return the outputs that an address names: all of a run's, or the one of a registered version.

    A run goes by its id or the id's beginning; a version reads ``models:/name/3``, ``name/3`` or ``name@alias``. Raises
    :class:`TrackingError` for an unknown address and :class:`StageInputError` for an unfinished or damaged run.
    """
    if not is_version(address):
        return dict(load_result(store, find_run(store, address)).outputs)
    version = resolve(store, address)
    outputs = load_result(store, version.run_id).outputs
    return {name: output for name, output in outputs.items() if output.digest == version.digest}


def input_of(store: Store, run_id: str, role: str) -> Artifact:
    """Return one of a run's inputs with a local copy; raises :class:`StageInputError` when it has none of that role."""
    records = provenance_of(store, run_id).inputs
    if role not in records:
        raise StageInputError(f"run {run_id} must have the input {role!r}, but has {sorted(records)}; name another run")
    return fetch(store, records[role])


def version_of(store: Store, digest: str) -> str:
    """Return the newest registered version of a content, as ``name/3``, or an empty text."""
    found = versions_of_content(store, digest)
    return str(found[0]) if found else ""


def first_base(store: Store, run_id: str) -> str:
    """Return the name of the checkpoint that all training began with; empty when it is not known."""
    base = provenance_of(store, run_id).inputs.get("base")
    if base is None or base.kind is not ArtifactKind.MODEL:
        return ""
    return base.metadata.get("base", "") if not base.run_id else first_base(store, base.run_id)
