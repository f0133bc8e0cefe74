"""On a tracking server the base of LoRA layers lies once, however many models on it are stored.

On this machine a layer's base is a hard link. A server has none: there a model or team is stored without the bases of
its layers (:mod:`mats_sql.layers`), and in the place of each stands ``base.json``, its digest and where the store keeps
it. Whoever reads the model has the base put back: the stages, and MLflow where it loads one.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from mats_sql.digests import digest_tree
from mats_sql.errors import ModelError
from mats_sql.layers import ADAPTERS, BASE, BASE_ELSEWHERE
from mats_sql.links import link_file, link_tree


@dataclass(frozen=True, slots=True)
class KeptBase:
    """A base that the store keeps by itself: the digest of its files, and their address."""

    digest: str
    uri: str


def bases_of(folder: Path) -> list[Path]:
    """Return the folders of the bases below a model or team folder, one per checkpoint in layers."""
    return sorted(path.with_name(BASE) for path in folder.rglob(ADAPTERS) if path.with_name(BASE).is_dir())


def write_without_bases(folder: Path, out: Path, kept: Callable[[Path], KeptBase]) -> None:
    """Write a model or team folder to ``out`` with ``base.json`` in the place of each base, as ``kept`` names it."""
    bases = set(bases_of(folder))
    shutil.copytree(
        folder,
        out,
        copy_function=link_file,
        ignore=lambda parent, found: [name for name in found if Path(parent, name) in bases],
    )
    for base in bases:
        note = out / base.relative_to(folder).with_name(BASE_ELSEWHERE)
        note.write_text(json.dumps(asdict(kept(base))), encoding="utf-8")


def put_bases_back(folder: Path, whole: Callable[[KeptBase], Path]) -> None:
    """Make a folder that :func:`write_without_bases` wrote what it was; ``whole`` says where a base's files are."""
    for note in _notes(folder):
        link_tree(whole(KeptBase(**json.loads(note.read_text(encoding="utf-8")))), note.with_name(BASE))
        note.unlink()


def complete(folder: Path) -> Path:
    """Put the bases back into a model that MLflow has just downloaded, and return it.

    Raises :class:`ModelError` when the tracking store does not give one, or another.
    """
    if _notes(folder):
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            put_bases_back(folder, cache(lambda base: _downloaded(base, Path(place) / base.digest)))
    return folder


def _notes(folder: Path) -> list[Path]:
    return sorted(note for note in folder.rglob(BASE_ELSEWHERE) if note.with_name(ADAPTERS).is_dir())


def _downloaded(base: KeptBase, place: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    place.mkdir()
    try:
        found = Path(download_artifacts(artifact_uri=base.uri, dst_path=str(place)))
    except (MlflowException, OSError) as error:
        raise _missing(base, str(error)) from None
    if digest_tree(found) != base.digest:
        raise _missing(base, "its files differ")
    return found


def _missing(base: KeptBase, cause: str) -> ModelError:
    return ModelError(
        f"the base of this model's adapters must be at {base.uri}, digest {base.digest[:12]}, but {cause}; ask the "
        "tracking server that has the model (MLFLOW_TRACKING_URI)"
    )
