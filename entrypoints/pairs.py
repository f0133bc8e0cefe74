"""Label the pool under a regime and join critiques to preference pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.stages.command import experiment_options, regime_option, run_command

if TYPE_CHECKING:
    from mats_sql.stages.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
@regime_option
def pairs(config: Path, overrides: tuple[str, ...], regime: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.stages.iterations import lines
        from mats_sql.stages.iterations import pairs as stage

        for line in lines(workspace.experiment):
            for item in workspace.experiment.regimes_named(regime):
                stage(workspace, item, line)

    run_command("pairs", config, overrides, body)


if __name__ == "__main__":
    pairs()
