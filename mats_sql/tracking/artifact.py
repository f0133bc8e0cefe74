"""What a stage gives to the next: a file or folder with a digest, wherever the store keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mats_sql.errors import StageInputError


class ArtifactKind(StrEnum):
    """What an output is, which decides how MLflow shows it.

    ``MODEL`` is one agent's checkpoint and ``TEAM`` a whole team: both become MLflow models. The others are artifacts
    of their run; those that a later stage reads appear there under "Datasets".
    """

    DATASET = "dataset"
    MODEL = "model"
    TEAM = "team"
    REPORT = "report"

    @property
    def is_model(self) -> bool:
        """Whether MLflow keeps it as a model."""
        return self in (ArtifactKind.MODEL, ArtifactKind.TEAM)


@dataclass(frozen=True, slots=True)
class Artifact:
    """An output of a finished run. ``path`` is a local copy with the digest ``digest``: read it, never write to it.

    ``uri`` is where the store keeps it, ``model_id`` the MLflow model that holds it (empty for other kinds).
    """

    name: str
    kind: ArtifactKind
    path: Path
    digest: str
    run_id: str
    uri: str = ""
    model_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What a reader of the UI calls it."""
        return label(self.name, self.kind, self.metadata)


def label(name: str, kind: ArtifactKind, metadata: Mapping[str, str]) -> str:
    """Return an output's name in the UI, where the outputs of all agents' runs would be ``model`` and ``examples``.

    A model goes by its agent (a team by its name) and regime, e.g. ``select-validator-collab``; data by agent and name.
    """
    agent, regime = metadata.get("agent", ""), metadata.get("regime", "")
    parts = [agent or name, regime] if kind.is_model else [agent, name]
    return "-".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """An artifact without its local copy: a line of a run's ``outputs.json`` or ``inputs.json``.

    ``role`` is the name under which a stage took it as an input; for an output it equals ``name``.
    """

    role: str
    name: str
    kind: ArtifactKind
    digest: str
    run_id: str
    uri: str
    model_id: str
    metadata: Mapping[str, str]

    @staticmethod
    def of(artifact: Artifact, role: str | None = None) -> ArtifactRecord:
        """Return the record of an artifact."""
        return ArtifactRecord(
            role=role or artifact.name,
            name=artifact.name,
            kind=artifact.kind,
            digest=artifact.digest,
            run_id=artifact.run_id,
            uri=artifact.uri,
            model_id=artifact.model_id,
            metadata=artifact.metadata,
        )

    def at(self, path: Path) -> Artifact:
        """Return the artifact with a local copy."""
        return Artifact(
            self.name, self.kind, path, self.digest, self.run_id, self.uri, self.model_id, dict(self.metadata)
        )


def records_text(records: Mapping[str, ArtifactRecord]) -> str:
    """Return records as the JSON text of a run's ``inputs.json`` or ``outputs.json``."""
    lines = [
        {
            "role": record.role,
            "name": record.name,
            "kind": record.kind.value,
            "digest": record.digest,
            "run_id": record.run_id,
            "uri": record.uri,
            "model_id": record.model_id,
            "metadata": dict(record.metadata),
        }
        for record in records.values()
    ]
    return json.dumps(lines, indent=1, ensure_ascii=False)


def parse_records(text: str, source: str) -> dict[str, ArtifactRecord]:
    """Read :func:`records_text` back, by role; raises :class:`StageInputError` when it is damaged."""
    try:
        records = [
            ArtifactRecord(
                role=line["role"],
                name=line["name"],
                kind=ArtifactKind(line["kind"]),
                digest=line["digest"],
                run_id=line["run_id"],
                uri=line["uri"],
                model_id=line["model_id"],
                metadata=line["metadata"],
            )
            for line in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise StageInputError(
            f"a run's record of artifacts must be readable, but {source}: {error!r}; run its stage again"
        ) from None
    return {record.role: record for record in records}
