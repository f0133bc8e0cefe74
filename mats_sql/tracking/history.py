"""What finished runs cost and who asked for them, and which reports of an experiment there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mats_sql.tracking import names
from mats_sql.tracking.failures import tracking_failures
from mats_sql.tracking.store import Store


@dataclass(frozen=True, slots=True)
class RunNote:
    """A run: its stage, when it began (UTC, to the minute), how long it computed, and the run it is nested under."""

    run_id: str
    stage: str
    began: str
    seconds: float
    commit: str
    parent: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EarlierReport:
    """A run that wrote a report of the experiment, the digest of its protocol, and what that fixes, as text."""

    run_id: str
    protocol: str
    parts: Mapping[str, str]


def note_of_run(store: Store, run_id: str) -> RunNote:
    """Return what a run was; an unfinished one has taken 0 s. Raises :class:`TrackingError` for an unknown one."""
    run = store.run(run_id)
    info, tags = run.info, run.data.tags
    ended = info.end_time or info.start_time
    return RunNote(
        run_id,
        tags.get(names.STAGE, ""),
        datetime.fromtimestamp(info.start_time / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        run.data.metrics.get(names.SECONDS, (ended - info.start_time) / 1000),
        tags.get(names.COMMIT, ""),
        tags.get("mlflow.parentRunId", ""),
        dict(run.data.metrics),
        dict(tags),
    )


def protocol_tags(digest: str) -> dict[str, str]:
    """Return what a run bears of the protocol it is made under: nothing while that is unknown (the empty digest)."""
    return {names.PROTOCOL: digest} if digest else {}


def note_protocol(store: Store, run_id: str, digest: str) -> None:
    """Write a protocol's digest on a run."""
    store.client.set_tag(run_id, names.PROTOCOL, digest)


def mark_report(store: Store, run_id: str, parts: Mapping[str, str]) -> None:
    """Write on a run that it reported the experiment, and under which protocol, part by part."""
    store.client.set_tag(run_id, names.REPORT, names.capped(json.dumps(dict(parts)), names.MAX_TAG_CHARACTERS))


def earlier_reports(store: Store, run_id: str = "") -> list[EarlierReport]:
    """Return the experiment's reports by other runs than this one, oldest first."""
    with tracking_failures("the experiment's reports must be readable", "check the tracking server and start again"):
        found = store.client.search_runs(
            [store.experiment_id],
            f"tags.`{names.REPORT}` LIKE '{{%'",
            order_by=["attributes.start_time ASC"],
            max_results=1000,
        )
    return [
        EarlierReport(run.info.run_id, run.data.tags.get(names.PROTOCOL, ""), json.loads(run.data.tags[names.REPORT]))
        for run in found
        if run.info.run_id != run_id
    ]
