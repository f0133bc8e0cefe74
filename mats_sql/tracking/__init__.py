"""Runs and their reuse, datasets, models, the registry and lineage: the only package that imports mlflow.

``store`` connects to a tracking server, ``stage`` runs a stage once per fingerprint, ``artifact`` and ``publish`` move
its outputs, ``registry`` gives new content a new version, ``lineage`` walks back from a version to everything it came
from, ``promotion`` moves the alias ``champion``, and ``team_model`` is the team as an MLflow model. Nothing is imported
here: importing mlflow takes a second, and ``--help`` must not wait for it. See docs/tracking.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.tracking.answer_traces import answered
    from mats_sql.tracking.artifact import Artifact, ArtifactKind
    from mats_sql.tracking.asked import Asked, Asker
    from mats_sql.tracking.health import StoreHealth, store_health
    from mats_sql.tracking.history import (
        EarlierReport,
        RunNote,
        earlier_reports,
        mark_report,
        note_of_run,
        note_protocol,
        protocol_tags,
    )
    from mats_sql.tracking.lineage_tree import lineage, lineage_text
    from mats_sql.tracking.looks import count_look, looks_so_far, note_look
    from mats_sql.tracking.machine_load import system_metrics
    from mats_sql.tracking.measurement import Measurement, evaluation_at, evaluation_of, record_measurement
    from mats_sql.tracking.model_metrics import measure_model
    from mats_sql.tracking.promotion import Move, champion_of, promote, roll_back, team_of_run
    from mats_sql.tracking.provenance import Provenance, first_base, input_of, outputs_at, provenance_of, version_of
    from mats_sql.tracking.registry import (
        Version,
        is_version,
        register,
        registered_name,
        resolve,
        set_alias,
        tag_version,
        version_with_alias,
    )
    from mats_sql.tracking.runs import find_run
    from mats_sql.tracking.stage import Stage, StageKey, StageResult, finished_result, load_result, run_stage
    from mats_sql.tracking.stage_costs import MeasuredCost, latest_cost
    from mats_sql.tracking.stage_run import StageRun
    from mats_sql.tracking.store import Store, connect
    from mats_sql.tracking.traces import Judged, TracedAnswer, TraceSource, log_traces
    from mats_sql.tracking.views import addresses, save_views

__all__ = [
    "Artifact",
    "ArtifactKind",
    "Asked",
    "Asker",
    "EarlierReport",
    "Judged",
    "MeasuredCost",
    "Measurement",
    "Move",
    "Provenance",
    "RunNote",
    "Stage",
    "StageKey",
    "StageResult",
    "StageRun",
    "Store",
    "StoreHealth",
    "TraceSource",
    "TracedAnswer",
    "Version",
    "addresses",
    "answered",
    "champion_of",
    "connect",
    "count_look",
    "earlier_reports",
    "evaluation_at",
    "evaluation_of",
    "find_run",
    "finished_result",
    "first_base",
    "input_of",
    "is_version",
    "latest_cost",
    "lineage",
    "lineage_text",
    "load_result",
    "log_traces",
    "looks_so_far",
    "mark_report",
    "measure_model",
    "note_look",
    "note_of_run",
    "note_protocol",
    "outputs_at",
    "promote",
    "protocol_tags",
    "provenance_of",
    "record_measurement",
    "register",
    "registered_name",
    "resolve",
    "roll_back",
    "run_stage",
    "save_views",
    "set_alias",
    "store_health",
    "system_metrics",
    "tag_version",
    "team_of_run",
    "version_of",
    "version_with_alias",
]

__getattr__ = Face(
    __name__,
    {
        "answer_traces": ("answered",),
        "artifact": ("Artifact", "ArtifactKind"),
        "asked": ("Asked", "Asker"),
        "health": ("StoreHealth", "store_health"),
        "history": (
            "EarlierReport",
            "RunNote",
            "earlier_reports",
            "mark_report",
            "note_of_run",
            "note_protocol",
            "protocol_tags",
        ),
        "lineage_tree": ("lineage", "lineage_text"),
        "looks": ("count_look", "looks_so_far", "note_look"),
        "machine_load": ("system_metrics",),
        "measurement": ("Measurement", "evaluation_at", "evaluation_of", "record_measurement"),
        "model_metrics": ("measure_model",),
        "promotion": ("Move", "champion_of", "promote", "roll_back", "team_of_run"),
        "provenance": ("Provenance", "first_base", "input_of", "outputs_at", "provenance_of", "version_of"),
        "registry": (
            "Version",
            "is_version",
            "register",
            "registered_name",
            "resolve",
            "set_alias",
            "tag_version",
            "version_with_alias",
        ),
        "runs": ("find_run",),
        "stage": ("Stage", "StageKey", "StageResult", "finished_result", "load_result", "run_stage"),
        "stage_costs": ("MeasuredCost", "latest_cost"),
        "stage_run": ("StageRun",),
        "store": ("Store", "connect"),
        "traces": ("Judged", "TraceSource", "TracedAnswer", "log_traces"),
        "views": ("addresses", "save_views"),
    },
)
