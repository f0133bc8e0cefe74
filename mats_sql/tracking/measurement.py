"""What a registered team was measured on: written on its version after every evaluation, promoted or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mats_sql.errors import StageInputError
from mats_sql.tracking import names
from mats_sql.tracking.artifact import Artifact
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.registry import Version, find_version, is_version, resolve, tag_version
from mats_sql.tracking.runs import find_run
from mats_sql.tracking.store import Store

DEV = "dev"
"""The part that is all usable dev questions; a measurement on it takes the place of one on any other part."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One evaluation of a team.

    ``part`` says which part of the questions was asked, ``question_set`` is the digest of exactly these. ``metrics``
    are fractions and counts; ``settings`` are what else tells the team from its siblings (beta, learning rate, …).
    """

    run_id: str
    part: str
    question_set: str
    metrics: Mapping[str, float]
    settings: Mapping[str, str]


def record_measurement(store: Store, name: str, team: Artifact, measurement: Measurement) -> None:
    """Write a measurement on the version of ``name`` that holds the team; nothing when it is there already.

    The tags ``metric.…`` and ``measured.…`` are of the last evaluation on all usable dev questions, else of the last
    one; ``evaluation.<question set>`` names the run for every question set that the team was ever evaluated on.
    """
    with tracking_failures(
        f"the measurement of {name!r} must be recorded", "check the tracking server and start again"
    ):
        version = find_version(store, name, team.digest)
        listed = evaluation_tag(measurement.question_set)
        if version is None or version.tags.get(listed) == measurement.run_id:
            return
        tags: dict[str, object] = {listed: measurement.run_id, **measurement.settings}
        if measurement.part == DEV or version.tags.get(names.MEASURED_PART) != DEV:
            tags |= {f"{names.METRIC}.{key}": f"{value:.6g}" for key, value in measurement.metrics.items()}
            tags[names.MEASURED_PART] = measurement.part
            tags[names.MEASURED_QUESTIONS] = measurement.question_set
            tags[names.MEASURED_RUN] = measurement.run_id
        tag_version(store, version, tags)


def evaluation_tag(question_set: str) -> str:
    """Return the tag under which a version names its evaluation on a question set."""
    return f"{names.EVALUATION}.{question_set[: names.QUESTION_SET_CHARACTERS]}"


def evaluation_of(version: Version, question_set: str = "") -> str:
    """Return the run that evaluated a version: on a question set where it was measured on that, else its last.

    Raises :class:`StageInputError` for a version that no evaluation is recorded on.
    """
    run_id = version.tags.get(evaluation_tag(question_set)) or version.tags.get(names.MEASURED_RUN)
    if run_id is None:
        raise StageInputError(
            f"a team must have been evaluated, but no evaluation is recorded on {version}; run mats-sql evaluate on it"
        )
    return run_id


def evaluation_at(store: Store, address: str) -> str:
    """Return the run that an address names: a run id, its beginning, or a registered version, by its evaluation.

    Raises :class:`TrackingError` for an unknown address and :class:`StageInputError` for a version never evaluated.
    """
    return evaluation_of(resolve(store, address)) if is_version(address) else find_run(store, address)
