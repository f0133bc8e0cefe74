"""Measure where the collaborative signal is lost: tables, plots and a page of plain words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.cli import experiment_options, run_command

if TYPE_CHECKING:
    from mats_sql.pipeline.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
def diagnose(config: Path, overrides: tuple[str, ...]) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.diagnose import diagnose as stage
        from mats_sql.pipeline.iterations import lines

        for line in lines(workspace.experiment):
            stage(workspace, line)

    run_command("diagnose", config, overrides, body)


if __name__ == "__main__":
    diagnose()
