"""Move the alias champion to a team that passes the gates of the config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.cli import experiment_options, run_command

if TYPE_CHECKING:
    from mats_sql.pipeline.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
@click.option("--run-id", required=True, help="The evaluate run of the team to promote.")
def promote(config: Path, overrides: tuple[str, ...], run_id: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.promote import promote as stage

        stage(workspace, run_id)

    run_command("promote", config, overrides, body)


if __name__ == "__main__":
    promote()
