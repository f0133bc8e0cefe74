"""Judge a file of candidate SQL against a benchmark's gold: one line of verdicts per (question, system)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.cli import one_line_errors

if TYPE_CHECKING:
    from mats_sql.pipeline.judge import JudgeReport

_PATH = click.Path(path_type=Path)


@click.command(help=__doc__)
@click.option(
    "--benchmark-root", type=_PATH, required=True, help="The benchmark's folder, in BIRD's or Spider's layout."
)
@click.option(
    "--candidates", type=_PATH, required=True, help="JSON lines, gzipped or not, or BIRD's {question_id: sql}."
)
@click.option("--out", type=_PATH, required=True, help="Where the verdicts go; the gold receipt goes beside it.")
@click.option("--split", default="dev", show_default=True, help="The benchmark's split.")
@click.option(
    "--benchmark-kind", type=click.Choice(["auto", "bird", "spider"]), default="auto", help="The benchmark's layout."
)
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="SQL worker processes.")
@click.option("--timeout-s", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True)
@click.option(
    "--database",
    metavar="URL",
    help="Run all SQL on this PostgreSQL, MySQL or MariaDB (postgresql://reader@host/db_id) instead of the files.",
)
@click.option("--cache", type=_PATH, default=Path("mats-runs/cache/judge"), show_default=True, help="Kept verdicts.")
def judge(
    benchmark_root: Path,
    candidates: Path,
    out: Path,
    split: str,
    benchmark_kind: str,
    workers: int,
    timeout_s: float,
    database: str | None,
    cache: Path,
) -> None:
    with one_line_errors():
        from mats_sql.config import SqlLimits
        from mats_sql.pipeline.judge import JudgeRequest, judge_in_a_run

        limits = SqlLimits(timeout_s=timeout_s)
        request = JudgeRequest(
            benchmark_root,
            candidates,
            out,
            split,
            benchmark_kind,  # type: ignore[arg-type]
            workers,
            limits,
            cache,
            database,
        )
        _print(judge_in_a_run(request, Path("mats-runs")), request.receipt)


def _print(report: JudgeReport, receipt: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from mats_sql.sql.verdict import VerdictClass

    found = [verdict for verdict in VerdictClass if any(system.official[verdict] for system in report.systems)]
    table = Table("system", *(verdict.value for verdict in found), "EX", "multiset", "ordered")
    for system in report.systems:
        total = system.official.total()
        shares = (system.official[VerdictClass.CORRECT], system.multiset_correct, system.ordered_correct)
        counts = (str(system.official[verdict]) for verdict in found)
        table.add_row(system.system, *counts, *(f"{100 * share / total:.2f}" for share in shares))
    console = Console(width=140, highlight=False)
    console.print(table)
    gold = report.receipt
    console.print(f"{report.judged} verdicts in {report.elapsed_s:.2f} s; {report.executed} SQL executed")
    console.print(
        f"gold: {gold.correct} of {gold.judged} agree with themselves, {len(gold.failed)} failed, "
        f"{len(gold.slow)} slow; receipt: {receipt}"
    )
    if report.questions_without_database:
        console.print(f"{len(report.questions_without_database)} questions have no database here: gold_unavailable")


if __name__ == "__main__":
    judge()
