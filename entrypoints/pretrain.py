"""Rebuild the embedded base model of the lab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.cli import experiment_options, run_command

if TYPE_CHECKING:
    from mats_sql.pipeline.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
def pretrain(config: Path, overrides: tuple[str, ...]) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.pretrain import pretrain as stage

        stage(workspace)

    run_command("pretrain", config, overrides, body)


if __name__ == "__main__":
    pretrain()
