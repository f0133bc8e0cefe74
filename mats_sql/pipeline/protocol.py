"""The protocol of an experiment: what was fixed before anybody looked at the final set, and its digest.

It is derived: the config says everything but the validation split, which `prepare` drew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from mats_sql.config import Experiment
from mats_sql.digests import digest_json
from mats_sql.errors import ConfigError
from mats_sql.evaluation.report import ResultTable
from mats_sql.parquet import read_records
from mats_sql.pipeline.questions import QuestionRow
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import Artifact, Store, earlier_reports

METRIC = "selector EX"


@dataclass(frozen=True, slots=True)
class Protocol:
    """What makes two reports comparable. ``validation_split`` is a digest of its questions; ``margin`` a fraction."""

    metric: str
    margin: float
    seed: int
    seeds: tuple[int, ...]
    seeds_vary: str
    k: int
    policy: Mapping[str, object]
    validation_questions: int
    validation_split: str

    @property
    def digest(self) -> str:
        """The digest of all of it."""
        return digest_json(asdict(self))

    def parts(self) -> dict[str, str]:
        """Return what it fixes, as text."""
        return {name.replace("_", " "): _text(value) for name, value in asdict(self).items()}

    def table(self) -> ResultTable:
        """Return the protocol as a table, its digest last."""
        return ResultTable("Protocol", ("part", "value"), (*self.parts().items(), ("digest", self.digest)))


def protocol_of(experiment: Experiment, questions: Artifact) -> Protocol:
    """Return the protocol of an experiment whose questions are known."""
    count, split = _validation_split(questions.path, questions.digest)
    return Protocol(
        metric=METRIC,
        margin=experiment.protocol.margin,
        seed=experiment.seed,
        seeds=experiment.seeds,
        seeds_vary=experiment.seeds_vary.value,
        k=experiment.policy.k,
        policy=experiment.policy.model_dump(mode="json", exclude={"k"}),
        validation_questions=count,
        validation_split=split,
    )


def fix_protocol(workspace: Workspace, questions: Artifact) -> Protocol:
    """Return the experiment's protocol, written on the command's run and on all stages' runs that begin after it."""
    protocol = protocol_of(workspace.experiment, questions)
    workspace.note_protocol(protocol.digest)
    return protocol


def require_protocol(store: Store, experiment: Experiment, questions: Artifact) -> Protocol:
    """Return the protocol; raise :class:`ConfigError` when it is not the config's or that of the experiment's reports.

    A changed protocol is another experiment, with a name of its own; finished stages are reused across names.
    """
    protocol = protocol_of(experiment, questions)
    wanted = experiment.protocol.digest
    if wanted is not None and not protocol.digest.startswith(wanted):
        raise ConfigError(
            f"the protocol must be protocol.digest {wanted}, but it is {protocol.digest[:16]}: "
            f"{', '.join(f'{name} {value}' for name, value in protocol.parts().items())}; set back what was changed"
        )
    for report in earlier_reports(store):
        if report.protocol != protocol.digest:
            told = protocol.parts()
            changed = [
                f"{name} (was {was}, is {told.get(name)})"
                for name, was in report.parts.items()
                if told.get(name) != was
            ]
            raise ConfigError(
                f"all reports of {experiment.name} must have one protocol, but that of run {report.run_id[:8]} differs "
                f"in {', '.join(changed) or 'its digest'}; a changed protocol is another experiment: give it a name "
                f"of its own, e.g. --set name={experiment.name}-2 (finished stages are reused)"
            )
    return protocol


@lru_cache
def _validation_split(path: Path, digest: str) -> tuple[int, str]:  # noqa: ARG001 - a file's content is in the key
    """Return how many questions are in validation, and a digest of them."""
    rows = read_records(QuestionRow, path)
    validation = sorted((row.question_id, row.db_id, row.text) for row in rows if row.in_validation)
    return len(validation), digest_json(validation)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
