"""The machine's load beside a training's curves, as MLflow's *System metrics* shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mats_sql.tracking.stage_run import StageRun

PREFIX = "system/"


@contextmanager
def system_metrics(run: StageRun, every_s: float) -> Iterator[None]:
    """Log CPU, memory, disk and network of the whole machine (and GPUs where nvidia-ml-py is installed) meanwhile.

    A sample is taken every so many seconds by a thread; 0 takes none. A run that goes on after a kill continues its
    steps. What fails here is a warning of MLflow's and no error.
    """
    if not every_s:
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(
        run.run_id,
        sampling_interval=every_s,
        resume_logging=run.is_continued,
        tracking_uri=run.store.tracking_uri,
    )
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
