"""Draw plans, critiques and fixes of train questions into the pool that every regime labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.cli import experiment_options, run_command

if TYPE_CHECKING:
    from mats_sql.pipeline.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
def rollout(config: Path, overrides: tuple[str, ...]) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.iterations import lines, pool_of

        for line in lines(workspace.experiment):
            pool_of(workspace, line)

    run_command("rollout", config, overrides, body)


if __name__ == "__main__":
    rollout()
