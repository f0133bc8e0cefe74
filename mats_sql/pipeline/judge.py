"""Judge a file of candidate SQL against a benchmark's gold, inside a run of the experiment ``judge``.

Nothing else reads what this writes. The judging itself is :mod:`mats_sql.sql.judging`; here the benchmark is read, the
verdicts and the gold receipt are written, and the run records both.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal

from mats_sql.benchmark import Benchmark, GoldReceipt, make_receipt, read_bird, read_spider
from mats_sql.config import SqlLimits
from mats_sql.errors import ConfigError
from mats_sql.sql import (
    AnswerKey,
    CandidateJudging,
    ItemJudge,
    Judge,
    ReferenceSql,
    ServerExecutor,
    ServerJudge,
    SqlExecutor,
    SystemCounts,
    read_address,
    shown,
)
from mats_sql.tracking import ArtifactKind, Stage, StageKey, StageRun, connect, run_stage

KEY = StageKey("judge", 1)
EXPERIMENT = "judge"
BenchmarkKind = Literal["auto", "bird", "spider"]


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What to judge, against which benchmark, and where to write it; ``cache`` makes a second judging free.

    With ``server``, a database server's URL, candidates and golds run there instead of on the benchmark's files: those
    of the questions whose database has the name that the URL ends in.
    """

    benchmark_root: Path
    candidates: Path
    out: Path
    split: str = "dev"
    kind: BenchmarkKind = "auto"
    workers: int = 2
    limits: SqlLimits = field(default_factory=SqlLimits)
    cache: Path | None = None
    server: str | None = field(default=None, repr=False)

    @property
    def receipt(self) -> Path:
        """Where the gold receipt is written."""
        return self.out.with_name(self.out.name + ".receipt.json")


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """What a judging came to. ``executed`` counts the SQL that really ran; the rest was known."""

    systems: tuple[SystemCounts, ...]
    receipt: GoldReceipt
    executed: int
    questions_without_database: tuple[int, ...]
    elapsed_s: float

    @property
    def judged(self) -> int:
        """The number of verdicts."""
        return sum(system.official.total() for system in self.systems)


def judge_in_a_run(request: JudgeRequest, work_dir: Path) -> JudgeReport:
    """Judge a file inside a run of the experiment ``judge``; raises what :func:`judge_file` raises.

    The run is made anew each time, since it costs nothing: verdicts are kept by content.
    """
    settings: dict[str, object] = {
        "benchmark_root": str(request.benchmark_root),
        "candidates": str(request.candidates),
        "split": request.split,
        "limits": request.limits.model_dump(mode="json"),
    }
    if request.server is not None:
        settings["database"] = shown(read_address(request.server))
    found: list[JudgeReport] = []

    def compute(run: StageRun) -> None:
        report = judge_file(request)
        found.append(report)
        run.log_metrics({"judged": report.judged, "executed": report.executed, "elapsed_s": report.elapsed_s})
        for system in report.systems:
            run.log_metrics(_metrics(system))
        run.output("verdicts", ArtifactKind.REPORT, request.out)
        run.output("gold_receipt", ArtifactKind.REPORT, request.receipt)

    stage = Stage(KEY, f"judge {request.candidates.name}", settings, reusable=False)
    run_stage(connect(EXPERIMENT, work_dir), stage, compute)
    return found[0]


def judge_file(request: JudgeRequest) -> JudgeReport:
    """Judge every candidate of a file; write the verdicts and the gold receipt, both only when complete.

    Raises a :class:`~mats_sql.errors.MatsError` for files that are missing or malformed, a server that cannot be
    reached, candidates of unknown questions, and when no candidate's database is there.
    """
    started = time.monotonic()
    benchmark = _open_benchmark(request)
    with _complete_or_absent(request.out) as stream, _open_judge(request) as judge:
        receipt = make_receipt(benchmark, judge, request.limits)
        judging = CandidateJudging(request.candidates, _answer_key(benchmark), judge)
        for judged in judging:
            stream.write(judged.line())
        request.receipt.write_text(json.dumps(receipt.as_json(), indent=1) + "\n", encoding="utf-8")
        executed = judge.executed
    missing = tuple(sorted(judging.without_database))
    return JudgeReport(judging.counts(), receipt, executed, missing, time.monotonic() - started)


def _open_benchmark(request: JudgeRequest) -> Benchmark:
    """Read a benchmark (``auto``: Spider's when it has Spider's ``tables.json``) and say where its databases are."""
    root, kind = request.benchmark_root, request.kind
    if kind == "auto":
        kind = "spider" if (root / "tables.json").is_file() else "bird"
    benchmark = read_spider(root, request.split) if kind == "spider" else read_bird(root, request.split)
    if request.server is None:
        return benchmark
    address = read_address(request.server)
    asked = {gold.db_id for gold in benchmark.golds.values()} & {address.database or ""}
    name = f"{benchmark.name} on {shown(address)}"
    return replace(benchmark, name=name, databases={db_id: Path(db_id) for db_id in asked})


@contextmanager
def _open_judge(request: JudgeRequest) -> Iterator[ItemJudge]:
    if request.server is not None:
        with ServerExecutor(request.server, request.limits, request.workers) as server:
            yield ServerJudge(server)
    else:
        with SqlExecutor(request.limits, request.workers) as executor, Judge(executor, request.cache) as judge:
            yield judge


def _answer_key(benchmark: Benchmark) -> AnswerKey:
    golds = {question_id: ReferenceSql(gold.db_id, gold.sql) for question_id, gold in benchmark.golds.items()}
    return AnswerKey(benchmark.name, golds, benchmark.databases)


@contextmanager
def _complete_or_absent(out: Path) -> Iterator[IO[str]]:
    """Open a file that takes its name only when the block ends without an error."""
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as stream:
            yield stream
        partial.replace(out)
    except OSError as error:
        raise ConfigError(f"--out must be a writable file, but {out}: {error.strerror}; give another path") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _metrics(system: SystemCounts) -> dict[str, float]:
    total = system.official.total()
    counts = {f"{system.system}/{verdict.value}": float(count) for verdict, count in system.official.items()}
    return {f"{system.system}/ex": counts.get(f"{system.system}/correct", 0.0) / total, **counts}
