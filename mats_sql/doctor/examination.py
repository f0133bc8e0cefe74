"""Every check of an experiment, in the order in which a user mends things: data, models, memory, software, disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mats_sql.config import Experiment
from mats_sql.doctor.benchmark_folder import benchmark_findings, train_questions
from mats_sql.doctor.disk import disk_findings
from mats_sql.doctor.engines import engine_findings
from mats_sql.doctor.finding import Finding, Status, ok, warning
from mats_sql.doctor.machine import Machine, imagined_card, this_machine
from mats_sql.doctor.memory import GIB
from mats_sql.doctor.models import checkpoints, model_findings, shapes
from mats_sql.doctor.stages import memory_findings
from mats_sql.doctor.store import store_findings

_IN_USE = 0.1
"""The part of a card that other processes may hold before it is worth a word."""


def examine(experiment: Experiment, *, gigabytes: float | None = None, receipt: Path | None = None) -> list[Finding]:
    """Return what every check of an experiment found.

    Nothing is downloaded, trained or drawn; the only request that leaves the machine goes to servers that the config
    or ``MLFLOW_TRACKING_URI`` names. ``gigabytes`` stands for the memory of a card that another machine has;
    ``receipt`` is a gold receipt that databases are compared with.
    """
    machine = this_machine() if gigabytes is None else imagined_card(gigabytes)
    found = checkpoints(experiment)
    known = shapes(found)
    stores, artifacts = store_findings(experiment.name)
    return [
        *benchmark_findings(experiment.benchmark, receipt),
        *model_findings(experiment, found),
        _machine_finding(machine),
        *memory_findings(experiment, known, machine),
        *engine_findings(experiment),
        *stores,
        *disk_findings(experiment, known, artifacts, train_questions(experiment)),
    ]


def anything_missing(findings: Iterable[Finding]) -> bool:
    """Return whether the experiment would stop."""
    return any(finding.status is Status.MISSING for finding in findings)


def _machine_finding(machine: Machine) -> Finding:
    found = f"{machine.name}, {machine.memory / GIB:.1f} GiB"
    held = machine.memory - machine.free
    if machine.is_card and held > _IN_USE * machine.memory:
        told = f"{found}, of which other processes hold {held / GIB:.1f}"
        return warning("memory", told, "end what runs on the card, or choose another with CUDA_VISIBLE_DEVICES")
    return ok("memory", found)
