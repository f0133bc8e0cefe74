"""Whether the tracking store answers and takes artifacts."""

from __future__ import annotations

from pathlib import Path

from mats_sql.doctor.finding import Finding, missing, ok
from mats_sql.errors import TrackingError


def store_findings(experiment_name: str) -> tuple[list[Finding], Path | None]:
    """Return what the tracking store can do, and the folder of its artifacts where they are on this machine."""
    from mats_sql.tracking import store_health

    try:
        health = store_health(experiment_name)
    except TrackingError as error:
        return [missing("tracking: store", str(error), "start the server, or set MLFLOW_TRACKING_URI")], None
    answers = f"{health.uri} will be made by the first command" if health.is_new else f"{health.uri} answers"
    registry = (
        missing("tracking: registry", health.registry_problem, "use a store with a model registry")
        if health.registry_problem
        else ok("tracking: registry", "usable")
    )
    artifacts = (
        missing(
            "tracking: artifacts", f"{health.artifacts}: {health.artifact_problem}", "give this user the right to write"
        )
        if health.artifact_problem
        else ok("tracking: artifacts", f"{health.artifacts} takes files")
    )
    return [ok("tracking: store", answers), registry, artifacts], health.folder
