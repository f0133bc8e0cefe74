"""Registered models and datasets: a new version for new content, none for the same.

MLflow's registry knows models; its own ``genai`` datasets have no versions outside Databricks and keep every record as
a row of the tracking database. So a generated dataset is a registered entry too, tagged ``mats.kind=dataset``: it has
versions, tags, aliases, a page and an address (``models:/quickstart.dataset.pool/2``) like everything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from mats_sql.errors import StageInputError, TrackingError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import Artifact, ArtifactKind, ArtifactRecord
from mats_sql.tracking.commit import code_commit
from mats_sql.tracking.entries import entry_description
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.lock import exclusive
from mats_sql.tracking.stage import read_records
from mats_sql.tracking.store import Store


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model or dataset. ``is_new`` says that this call made it."""

    name: str
    number: int
    digest: str
    run_id: str
    tags: Mapping[str, str]
    is_new: bool = False

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def kind(self) -> str:
        """What it is: ``team``, ``model`` or ``dataset``; empty for a version that this project did not register."""
        return self.tags.get(names.KIND, "")

    @property
    def uri(self) -> str:
        """The address that MLflow loads it from."""
        return f"models:/{self.name}/{self.number}"


def registered_name(experiment: str, kind: ArtifactKind, name: str) -> str:
    """Return the registry's name for an output: ``<experiment>.<name>``, datasets under ``<experiment>.dataset.``."""
    return f"{experiment}.{name}" if kind.is_model else f"{experiment}.{kind.value}.{name}"


def register(store: Store, artifact: Artifact, name: str, tags: Mapping[str, object]) -> Version:
    """Return the version of ``name`` with this artifact's content, made now if there is none.

    A new version carries ``tags``, the digest, the code's commit and, per input of the run that made it, a tag
    ``input.<role>`` with the registered version (or the run) it came from. An existing version is left as it is.
    """
    remedy = "check the tracking server and start again"
    with (
        exclusive(store.work_dir / "locks" / f"register-{name}.lock", f"the registration of {name!r}"),
        tracking_failures(f"{name!r} must be registered", remedy),
    ):
        known = find_version(store, name, artifact.digest)
        return known or _new_version(store, artifact, name, tags)


def find_version(store: Store, name: str, digest: str) -> Version | None:
    """Return the newest version of ``name`` with this content, if any."""
    found = _search(store, f"name = '{name}' AND tags.`{names.DIGEST}` = '{digest}'")
    return found[0] if found else None


def versions_of_content(store: Store, digest: str) -> list[Version]:
    """Return every registered version of this content, newest first, whatever its name."""
    return _search(store, f"tags.`{names.DIGEST}` = '{digest}'")


def is_version(address: str) -> bool:
    """Return whether an address is of the form of a registered version (``name/3``, ``name@alias``), not a run's."""
    return "/" in address or "@" in address


def resolve(store: Store, reference: str) -> Version:
    """Return the version that ``name/3`` or ``name@alias`` names, with or without ``models:/`` before it.

    Raises :class:`TrackingError` when there is none.
    """
    plain = reference.removeprefix("models:/")
    name, at, alias = plain.partition("@")
    number = ""
    if not at:
        name, _, number = plain.rpartition("/")
    if not name or not (alias or number.isdigit()):
        raise TrackingError(f"a version must read name/3 or name@champion, but got {reference!r}; see the registry")
    with tracking_failures(f"version {reference!r} must be registered", "see the model registry in the MLflow UI"):
        if at:
            return _version(store.client.get_model_version_by_alias(name, alias))
        return _version(store.client.get_model_version(name, number))


def aliased(store: Store, name: str, alias: str) -> Version | None:
    """Return the version that holds an alias, or ``None``; a store that cannot say raises MLflow's own error."""
    try:
        return _version(store.client.get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def version_with_alias(store: Store, name: str, alias: str) -> Version | None:
    """Return the version that holds an alias, if any; raises :class:`TrackingError` when that cannot be read."""
    with tracking_failures("the model registry must be readable", "check the tracking server and start again"):
        return aliased(store, name, alias)


def version_numbered(store: Store, name: str, number: int) -> Version | None:
    """Return a version by its number, or ``None`` when it is deleted."""
    try:
        return _version(store.client.get_model_version(name, str(number)))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def set_alias(store: Store, version: Version, alias: str) -> None:
    """Move an alias of the version's name to it, e.g. ``best-of-search-collab``."""
    remedy = "check the tracking server and start again"
    with tracking_failures(f"{version} must get the alias {alias!r}", remedy):
        store.client.set_registered_model_alias(version.name, alias, str(version.number))


def tag_version(store: Store, version: Version, tags: Mapping[str, object]) -> None:
    """Set tags on a version, e.g. ``metric.selector_ex``."""
    for key, value in tags.items():
        text = names.capped(value, names.MAX_TAG_CHARACTERS)
        if version.tags.get(key) != text:
            store.client.set_model_version_tag(version.name, str(version.number), key, text)


def _new_version(store: Store, artifact: Artifact, name: str, tags: Mapping[str, object]) -> Version:
    _ensure_entry(store, name, artifact.kind)
    parents = _parents(store, artifact)
    wanted: dict[str, object] = {
        names.KIND: artifact.kind.value,
        names.DIGEST: artifact.digest,
        names.COMMIT: code_commit(),
        **artifact.metadata,
        **tags,
        **{f"{names.INPUT}.{role}": parent for role, parent in parents.items()},
    }
    made = store.client.create_model_version(
        name,
        source=f"models:/{artifact.model_id}" if artifact.model_id else artifact.uri,
        run_id=artifact.run_id,
        tags={key: names.capped(value, names.MAX_TAG_CHARACTERS) for key, value in wanted.items()},
        description=_description(parents),
        model_id=artifact.model_id or None,
        await_creation_for=0,
    )
    if artifact.model_id:  # what the UI's list of an experiment's models shows as "registered"
        listed = json.dumps([{"name": name, "version": made.version}])
        store.client.set_logged_model_tags(artifact.model_id, {"mlflow.modelVersions": listed})
    return _version(made, is_new=True)


def _ensure_entry(store: Store, name: str, kind: ArtifactKind) -> None:
    """Make a registered name with its description; one that somebody described keeps that."""
    told = entry_description(name, kind)
    try:
        store.client.create_registered_model(name, tags={names.KIND: kind.value}, description=told)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        if not store.client.get_registered_model(name).description:
            store.client.update_registered_model(name, told)


def _parents(store: Store, artifact: Artifact) -> dict[str, str]:
    """Return, per role, the registered version that the artifact's run read, or ``run <id>`` when unregistered."""
    try:
        records = read_records(store.run(artifact.run_id), names.INPUTS_FILE)
    except StageInputError:
        return {}
    found = {role: versions_of_content(store, record.digest) for role, record in records.items()}
    return {role: str(versions[0]) if versions else _unregistered(records[role]) for role, versions in found.items()}


def _unregistered(record: ArtifactRecord) -> str:
    made = f"made by run {record.run_id}" if record.run_id else "made outside of this project's runs"
    return f"{record.metadata.get('base', record.name)} {record.digest[:12]}, {made}"


def _description(parents: Mapping[str, str]) -> str:
    lines = []
    for role, parent in parents.items():
        name, _, number = parent.rpartition("/")
        link = f"[{parent}](#/models/{name}/versions/{number})" if number.isdigit() else parent
        lines.append(f"* {role}: {link}")
    return "Made from\n\n" + "\n".join(lines) if lines else ""


def _search(store: Store, filter_string: str) -> list[Version]:
    found = store.client.search_model_versions(filter_string, order_by=["creation_timestamp DESC"], max_results=100)
    return [_version(item) for item in found]


def _version(item: ModelVersion, *, is_new: bool = False) -> Version:
    tags = dict(item.tags)
    return Version(item.name, int(item.version), tags.get(names.DIGEST, ""), item.run_id or "", tags, is_new)
