"""Train the validators with ORPO on a regime's pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.config import Regime
from mats_sql.stages.command import experiment_options, run_command

if TYPE_CHECKING:
    from mats_sql.stages.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
@click.option(
    "--regime",
    type=click.Choice([*(regime.value for regime in Regime), "all"]),
    default="all",
    show_default=True,
    help="The rule that labels critiques; all: every regime of the experiment.",
)
def orpo(config: Path, overrides: tuple[str, ...], regime: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.stages.iterations import orpo_all

        orpo_all(workspace, workspace.experiment.regimes_named(regime))

    run_command("orpo", config, overrides, body)


if __name__ == "__main__":
    orpo()
