"""Move files into the store's artifact storage and back, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mats_sql.digests import digest_tree
from mats_sql.errors import StageInputError
from mats_sql.links import link_file
from mats_sql.tracking.artifact import Artifact, ArtifactKind, ArtifactRecord
from mats_sql.tracking.bases import KeptBase, put_bases_back
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.lock import exclusive
from mats_sql.tracking.store import Store


def local_folder(uri: str) -> Path | None:
    """Return the local path that an artifact address names, or ``None`` when a server keeps it."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else uri)


def publish(source: Path, root: str, folder: str, *, owned: bool = True) -> str:
    """Store a file or folder below ``<root>/<folder>`` and return its address.

    A file keeps its name inside that folder. On local storage the folder appears in one step, made of hard links
    where the file system allows it: a team of five checkpoints then costs no space. That needs an ``owned`` source,
    one that nobody will write to any more; others are copied. On a server it is uploaded.
    """
    target = f"{root.rstrip('/')}/{folder}"
    address = target if source.is_dir() else f"{target}/{source.name}"
    local = local_folder(target)
    if local is None:
        repository = get_artifact_repository(root)
        if source.is_dir():
            repository.log_artifacts(str(source), folder)
        else:
            repository.log_artifact(str(source), folder)
        return address
    _replace(source, local, link_file if owned else shutil.copyfile)
    return address


def _replace(source: Path, target: Path, copy: Callable[[str, str], str]) -> None:
    """Make ``target`` the folder ``source``, or a folder that holds the file ``source``, in one step."""
    staging = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    staging.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, staging, copy_function=copy)
    else:
        staging.mkdir()
        copy(str(source), str(staging / source.name))
    if target.exists():
        shutil.rmtree(target)
    staging.rename(target)


def fetch(store: Store, record: ArtifactRecord) -> Artifact:
    """Return an artifact with a local copy whose digest was checked.

    Storage on this machine is read in place. Otherwise the copy lies in ``<work_dir>/downloads`` under its digest
    and is downloaded again when it is missing or damaged. Raises :class:`StageInputError` when the stored bytes are
    gone or differ from the recorded digest.
    """
    local = local_folder(record.uri)
    if local is None:
        local = _download(store, record)
    elif not _intact(local, record.digest):
        raise _damaged(record)
    return record.at(local)


def keep_copy(store: Store, record: ArtifactRecord, source: Path, *, owned: bool = True) -> Artifact:
    """Return a just published artifact, its local copy kept so that it need not be downloaded: of an ``owned`` source,
    as in :func:`publish`, made of hard links.
    """
    local = local_folder(record.uri)
    if local is None:
        local = _cached(store, record, source.name)
        with exclusive(_download_lock(store, record), f"the local copy of output {record.name!r}"):
            if not _intact(local, record.digest):
                copy = link_file if owned else shutil.copyfile
                _replace(source, local if source.is_dir() else local.parent, copy)
    return record.at(local)


def _download(store: Store, record: ArtifactRecord) -> Path:
    cached = _cached(store, record, record.uri.rstrip("/").rsplit("/", 1)[-1])
    with exclusive(_download_lock(store, record), f"the download of output {record.name!r}"):
        if _intact(cached, record.digest):
            return cached
        with tempfile.TemporaryDirectory(dir=store.work_dir) as temporary:
            downloaded = _downloaded(store, record, temporary)
            put_bases_back(downloaded, lambda base: _base(store, record, base))
            if not _intact(downloaded, record.digest):
                raise _damaged(record)
            _replace(downloaded, cached if downloaded.is_dir() else cached.parent, link_file)
    return cached


def _downloaded(store: Store, record: ArtifactRecord, folder: str) -> Path:
    rule, remedy = f"output {record.name!r} of run {record.run_id} must be readable", "run its stage again"
    with tracking_failures(rule, remedy, OSError):
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=record.uri, dst_path=folder, tracking_uri=store.tracking_uri
        )
    return Path(path)


def _base(store: Store, record: ArtifactRecord, base: KeptBase) -> Path:
    """Return a local copy of a base that the store keeps once for many models, ``record`` among them."""
    found = ArtifactRecord("base", "base", ArtifactKind.MODEL, base.digest, record.run_id, base.uri, "", {})
    return fetch(store, found).path


def _cached(store: Store, record: ArtifactRecord, name: str) -> Path:
    return store.work_dir / "downloads" / record.digest[:32] / name


def _download_lock(store: Store, record: ArtifactRecord) -> Path:
    return store.work_dir / "locks" / f"download-{record.digest[:32]}.lock"


def _intact(path: Path, digest: str) -> bool:
    try:
        return path.exists() and digest_tree(path) == digest
    except OSError:
        return False


def _damaged(record: ArtifactRecord) -> StageInputError:
    return StageInputError(
        f"output {record.name!r} of run {record.run_id} must have the digest {record.digest[:12]}, "
        f"but what {record.uri} holds is missing or differs; run its stage again"
    )
