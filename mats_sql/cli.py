"""The command line: one group `mats-sql`, one command per entry point.

What all commands share, how they are run and how they fail, is in :mod:`mats_sql.command`. Heavy packages are imported
when a command begins its work, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.choices import PreferredAgent
from mats_sql.command import (
    EXIT_USER_ERROR,
    PATH,
    experiment_options,
    load,
    one_line_errors,
    preferred_agent_option,
    regime_option,
    run_command,
)
from mats_sql.errors import ConfigError
from mats_sql.threads import let_threads_sleep

if TYPE_CHECKING:
    from mats_sql.pipeline import Workspace

WORK_DIR = Path("mats-runs")
SFT_AGENTS = ("planner", "select-validator", "condition-validator", "fixer", "selector", "all")


@click.group()
@click.version_option(package_name="mats-sql")
def commands() -> None:
    """Train and compare teams of small language models for Text2SQL, tracked in MLflow."""


@commands.command()
@experiment_options
@click.option("--dry-run", is_flag=True, help="Say which stages would run and which would be reused; run nothing.")
def main(config: Path, overrides: tuple[str, ...], *, dry_run: bool) -> None:
    """The whole experiment: train, evaluate, compare and register every team."""
    if dry_run:
        with one_line_errors():
            experiment = load(config, overrides)
            from mats_sql.pipeline import plan_experiment

            plan_experiment(experiment)
        return

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import run_experiment

        run_experiment(workspace)

    run_command("main", config, overrides, body)


@commands.command()
@experiment_options
def prepare(config: Path, overrides: tuple[str, ...]) -> None:
    """Read the benchmark, find out which questions are usable, split off validation, refuse leaks."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import prepare_questions

        prepare_questions(workspace)

    run_command("prepare", config, overrides, body)


@commands.command()
@experiment_options
def pretrain(config: Path, overrides: tuple[str, ...]) -> None:
    """Rebuild the embedded base model of the lab."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import pretrain_base

        pretrain_base(workspace)

    run_command("pretrain", config, overrides, body)


@commands.command()
@experiment_options
@click.option("--agent", type=click.Choice(SFT_AGENTS), default="all", show_default=True, help="Which agent.")
def sft(config: Path, overrides: tuple[str, ...], agent: str) -> None:
    """Train one agent, or all of them, on the teacher's answers."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import train_supervised

        train_supervised(workspace, agent)

    run_command("sft", config, overrides, body)


@commands.command()
@experiment_options
def rollout(config: Path, overrides: tuple[str, ...]) -> None:
    """Draw plans, critiques and fixes for the train questions into a pool, executed and judged."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import draw_pools

        draw_pools(workspace)

    run_command("rollout", config, overrides, body)


@commands.command()
@experiment_options
@preferred_agent_option
@regime_option
def pairs(config: Path, overrides: tuple[str, ...], agent: str, regime: str) -> None:
    """Build preference pairs from the pool."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import build_pairs

        build_pairs(workspace, PreferredAgent(agent), regime)

    run_command("pairs", config, overrides, body)


@commands.command()
@experiment_options
@preferred_agent_option
@regime_option
def orpo(config: Path, overrides: tuple[str, ...], agent: str, regime: str) -> None:
    """Train agents with ORPO on preference pairs."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import train_preferred

        train_preferred(workspace, PreferredAgent(agent), regime)

    run_command("orpo", config, overrides, body)


@commands.command()
@experiment_options
@click.option(
    "--team",
    default="all",
    show_default=True,
    help="planner, validators (without a fixer), sft, a regime, a team that the config names, or all of them.",
)
def evaluate(config: Path, overrides: tuple[str, ...], team: str) -> None:
    """Run teams on the usable dev questions and measure every metric."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import evaluate_teams

        evaluate_teams(workspace, team)

    run_command("evaluate", config, overrides, body, concurrent=True)


@commands.command()
@experiment_options
@click.option(
    "--team",
    default="none",
    show_default=True,
    help="Show the ladder of these teams alone, named as evaluate names them. none: the SFT team's ladder, and where a "
    "collaborative signal is lost between the fixer's answers and the selected SQL.",
)
@click.option(
    "--part",
    type=click.Choice(["dev", "validation"]),
    default="dev",
    show_default=True,
    help="Which questions a team's ladder is on; validation is no look at the final set.",
)
def diagnose(config: Path, overrides: tuple[str, ...], team: str, part: str) -> None:
    """Show which station of a team is weakest, and where a collaborative signal is lost."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import diagnose_lines, show_ladders

        if team == "none":
            _require_dev(part)
            diagnose_lines(workspace)
        else:
            show_ladders(workspace, team, validation_only=part == "validation")

    run_command("diagnose", config, overrides, body, concurrent=True)


@commands.command()
@experiment_options
@click.option(
    "--regime",
    default="all",
    show_default=True,
    help="The regimes to search, parted by commas, each with the same space, sampler seed and budget; all: every one "
    "of the experiment.",
)
@click.option(
    "--trials", type=click.IntRange(min=1), default=None, help="How many trials; default: search.trials of the config."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes of this machine that share the trials; on others the same command joins through search.storage.",
)
@click.option("--dry-run", is_flag=True, help="Say which stages would run and how many trials remain; run nothing.")
def search(
    config: Path, overrides: tuple[str, ...], regime: str, trials: int | None, workers: int, *, dry_run: bool
) -> None:
    """Search ORPO's beta, K and learning rate for selector EX on the validation split."""
    if dry_run:
        with one_line_errors():
            experiment = load(config, overrides)
            from mats_sql.pipeline import plan_search

            plan_search(experiment, experiment.regimes_named(regime), trials)
        return

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import search_regimes

        search_regimes(workspace, workspace.experiment.regimes_named(regime), trials=trials, workers=workers)

    run_command("search", config, overrides, body, concurrent=True)


@commands.command()
@experiment_options
@click.option(
    "--baseline",
    default="indep",
    show_default=True,
    help="A team, as evaluate has it, or run ids of evaluate (or their beginnings) or registered teams.",
)
@click.option(
    "--treatment", default="collab", show_default=True, help="Likewise; runs and versions are parted by commas."
)
def compare(config: Path, overrides: tuple[str, ...], baseline: str, treatment: str) -> None:
    """Compare two teams at selector EX with honest statistics."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import compare_named

        compare_named(workspace, baseline, treatment)

    run_command("compare", config, overrides, body, concurrent=True)


@commands.command()
@experiment_options
@click.option("--dry-run", is_flag=True, help="Say which stages would run and which would be reused; run nothing.")
def report(config: Path, overrides: tuple[str, ...], *, dry_run: bool) -> None:
    """Write one page of what the experiment came to: verdict, tables, flips, cost, lineage; as HTML and Markdown."""
    if dry_run:
        with one_line_errors():
            experiment = load(config, overrides)
            from mats_sql.pipeline import plan_report

            plan_report(experiment)
        return

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import report_experiment

        report_experiment(workspace)

    run_command("report", config, overrides, body)


@commands.command()
@experiment_options
@click.option(
    "--run-id",
    metavar="RUN_OR_VERSION",
    default="",
    help="The team's evaluate run (its id or the id's beginning), or its version, e.g. models:/quickstart.team/3.",
)
@click.option(
    "--rollback",
    type=click.BOOL,
    is_flag=False,
    flag_value=True,
    default=False,
    help="Go back to the champion before the present one; given again, to the one before that.",
)
def promote(config: Path, overrides: tuple[str, ...], run_id: str, rollback: bool) -> None:
    """Move the alias champion to a team that passes the gates of the config, or back to the champion before."""

    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline import promote_team, roll_back_champion

        if rollback:
            roll_back_champion(workspace)
        else:
            promote_team(workspace, run_id)

    with one_line_errors():
        if rollback == bool(run_id):
            got = "both" if rollback else "none"
            raise ConfigError(f"promote takes one of --run-id and --rollback, but got {got}; give one of them")
    run_command("promote", config, overrides, body)


@commands.command()
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


@commands.command()
@experiment_options
@click.argument("address")
def lineage(config: Path, overrides: tuple[str, ...], address: str) -> None:
    """Show what a registered model or dataset was made from, e.g. quickstart.team@champion."""
    with one_line_errors():
        experiment = load(config, overrides)
        from mats_sql.pipeline import show_lineage

        show_lineage(experiment, address)


@commands.command()
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


@commands.command()
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


@commands.command()
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


def _require_dev(part: str) -> None:
    if part != "dev":
        raise ConfigError(f"--part must be dev without --team, but got {part!r}; name the team of the ladder")
