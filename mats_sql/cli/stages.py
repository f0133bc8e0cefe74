"""The group `mats-sql` and its commands that run stages of an experiment; those that run none are added to it.

Heavy packages are imported when a command begins its work, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.choices import PreferredAgent
from mats_sql.cli.inquiries import ask, doctor, judge, lineage, release
from mats_sql.command import (
    count_or_none,
    experiment_options,
    load,
    one_line_errors,
    preferred_agent_option,
    regime_option,
    run_command,
)
from mats_sql.errors import ConfigError

if TYPE_CHECKING:
    from mats_sql.pipeline import Workspace

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
    "--trials",
    metavar="COUNT",
    default="",
    callback=count_or_none,
    help="How many trials; default: search.trials of the config.",
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


for command in (ask, lineage, release, doctor, judge):
    commands.add_command(command)


def _require_dev(part: str) -> None:
    if part != "dev":
        raise ConfigError(f"--part must be dev without --team, but got {part!r}; name the team of the ladder")
