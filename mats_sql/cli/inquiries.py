"""Commands that are no stage of an experiment: they ask, look up, judge a file, or write elsewhere what there is."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mats_sql.command import EXIT_USER_ERROR, PATH, experiment_options, load, one_line_errors
from mats_sql.threads import let_threads_sleep

WORK_DIR = Path("mats-runs")


@click.command()
@experiment_options
@click.argument("question")
@click.option("--database", required=True, metavar="FILE_OR_URL", help="A SQLite file, or postgresql://…, mysql://….")
@click.option("--evidence", default="", help="What the question does not say and the answer needs.")
@click.option("--model", default="", help="A registered team; default: models:/<name of the experiment>.team@champion.")
def ask(config: Path, overrides: tuple[str, ...], question: str, database: str, evidence: str, model: str) -> None:
    """Answer a question about a database, showing what every agent said; the database is only read."""
    with one_line_errors():
        let_threads_sleep()
        experiment = load(config, overrides)
        from mats_sql.pipeline import AskRequest, ask_team, result_console
        from mats_sql.tracking import Asked

        ask_team(experiment, AskRequest(Asked(question, database, evidence), model), result_console())


@click.command()
@experiment_options
@click.argument("address")
def lineage(config: Path, overrides: tuple[str, ...], address: str) -> None:
    """Show what a registered model or dataset was made from, e.g. quickstart.team@champion."""
    with one_line_errors():
        experiment = load(config, overrides)
        from mats_sql.pipeline import show_lineage

        show_lineage(experiment, address)


@click.command()
@experiment_options
@click.argument("address")
@click.option("--out", type=PATH, required=True, help="The folder to write, empty or not there yet.")
@click.option("--evaluation", metavar="RUN", help="An evaluate run whose scores go into an agent's model card.")
@click.option("--license", "license_id", help="The licence in an agent's model card; default: that of its base.")
@click.option("--adapter", is_flag=True, help="Of LoRA trainings one adapter on the base, not the merged weights.")
def release(
    config: Path,
    overrides: tuple[str, ...],
    address: str,
    out: Path,
    evaluation: str | None,
    license_id: str | None,
    adapter: bool,
) -> None:
    """Write what a run or version holds as others read it: answers for BIRD, pairs for TRL, an agent with its card.

    ADDRESS is a run's id, or a registered version such as quickstart.fixer/1.
    """
    with one_line_errors():
        experiment = load(config, overrides)
        from mats_sql.release import ReleaseRequest, release
        from mats_sql.tracking import connect

        store = connect(experiment.name, experiment.work_dir)
        for line in release(store, ReleaseRequest(address, out, evaluation, license_id, adapter)):
            click.echo(line)


@click.command()
@experiment_options
@click.option(
    "--gigabytes",
    type=click.FloatRange(min=0, min_open=True),
    help="Check as if there were a card with so many gigabytes (of 2^30 bytes), e.g. 80; default: this machine's own.",
)
@click.option("--receipt", type=PATH, help="A gold receipt of prepare or judge; every database is read and compared.")
def doctor(config: Path, overrides: tuple[str, ...], gigabytes: float | None, receipt: Path | None) -> None:
    """Say what is missing for an experiment before it starts; exit code 2 when something would stop it."""
    with one_line_errors():
        experiment = load(config, overrides)
        from mats_sql.doctor import anything_missing, examine, print_findings
        from mats_sql.pipeline import result_console

        findings = examine(experiment, gigabytes=gigabytes, receipt=receipt)
        print_findings(result_console(), findings)
        if anything_missing(findings):
            sys.exit(EXIT_USER_ERROR)


@click.command()
@click.option(
    "--benchmark-root", type=PATH, required=True, help="The benchmark's folder, in BIRD's or Spider's layout."
)
@click.option(
    "--candidates", type=PATH, required=True, help="JSON lines, gzipped or not, or BIRD's {question_id: sql}."
)
@click.option("--out", type=PATH, required=True, help="Where the verdicts go; the gold receipt goes beside it.")
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
@click.option("--cache", type=PATH, default=Path("mats-runs/cache/judge"), show_default=True, help="Kept verdicts.")
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
    """Judge a file of candidate SQL against a benchmark's gold: one line of verdicts per (question, system)."""
    with one_line_errors():
        from mats_sql.config import SqlLimits
        from mats_sql.pipeline import JudgeRequest, judge_candidates

        limits = SqlLimits(timeout_s=timeout_s)
        kind, server = benchmark_kind, database
        request = JudgeRequest(benchmark_root, candidates, out, split, kind, workers, limits, cache, server)  # type: ignore[arg-type]
        judge_candidates(request, WORK_DIR)
