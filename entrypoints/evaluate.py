"""Run teams on the usable dev questions and measure every metric."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.cli import experiment_options, run_command

if TYPE_CHECKING:
    from mats_sql.pipeline.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
@click.option(
    "--team",
    default="all",
    show_default=True,
    help="planner, sft, a regime, or all teams of the experiment.",
)
def evaluate(config: Path, overrides: tuple[str, ...], team: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.evaluate import evaluate_teams

        evaluate_teams(workspace, team)

    run_command("evaluate", config, overrides, body)


if __name__ == "__main__":
    evaluate()
