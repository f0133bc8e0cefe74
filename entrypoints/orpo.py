"""Train the validators with ORPO on a regime's pairs."""

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
def orpo(config: Path, overrides: tuple[str, ...], regime: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.stages.iterations import orpo_all

        orpo_all(workspace, workspace.experiment.regimes_named(regime))

    run_command("orpo", config, overrides, body)


if __name__ == "__main__":
    orpo()
