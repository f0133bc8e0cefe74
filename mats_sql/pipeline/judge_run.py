"""A judging as an MLflow run: what was judged, the counts per system, the verdicts and the gold receipt."""

from __future__ import annotations

from pathlib import Path

from mats_sql.pipeline.judge import JudgeReport, JudgeRequest, SystemCounts, judge_file
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import connect

KEY = StageKey("judge", 1)
EXPERIMENT = "judge"


def tracked_judging(request: JudgeRequest, work_dir: Path) -> JudgeReport:
    """Judge a file inside a run of the experiment ``judge``; raises what :func:`judge_file` raises.

    The run is made anew each time, since it costs nothing: verdicts are kept by content.
    """
    store = connect(EXPERIMENT, work_dir)
    settings = {
        "benchmark_root": str(request.benchmark_root),
        "candidates": str(request.candidates),
        "split": request.split,
        "limits": request.limits.model_dump(mode="json"),
    }
    found: list[JudgeReport] = []

    def compute(run: StageRun) -> None:
        report = judge_file(request)
        found.append(report)
        run.log_metrics({"judged": report.judged, "executed": report.executed, "elapsed_s": report.elapsed_s})
        for system in report.systems:
            run.log_metrics(_metrics(system))
        run.output("verdicts", ArtifactKind.REPORT, request.out)
        run.output("gold_receipt", ArtifactKind.REPORT, request.receipt)

    run_stage(store, Stage(KEY, f"judge {request.candidates.name}", settings, reusable=False), compute)
    return found[0]


def _metrics(system: SystemCounts) -> dict[str, float]:
    total = system.official.total()
    counts = {f"{system.system}/{verdict.value}": float(count) for verdict, count in system.official.items()}
    return {f"{system.system}/ex": counts.get(f"{system.system}/correct", 0.0) / total, **counts}
