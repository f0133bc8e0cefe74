"""Train one agent, or all of them, on the teacher's answers."""

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
    "--agent",
    type=click.Choice(["planner", "select-validator", "condition-validator", "fixer", "selector", "all"]),
    default="all",
    show_default=True,
    help="Which agent.",
)
def sft(config: Path, overrides: tuple[str, ...], agent: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.teams import sft_agent

        sft_agent(workspace, agent)

    run_command("sft", config, overrides, body)


if __name__ == "__main__":
    sft()
