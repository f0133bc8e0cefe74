"""Search ORPO's beta, K and learning rate for selector EX on the validation split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.cli import experiment_options, regime_option, run_command

if TYPE_CHECKING:
    from mats_sql.pipeline.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
@regime_option
@click.option(
    "--trials", type=click.IntRange(min=1), default=None, help="How many trials; default: search.trials of the config."
)
def search(config: Path, overrides: tuple[str, ...], regime: str, trials: int | None) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.search import search as stage

        for item in workspace.experiment.regimes_named(regime):
            stage(workspace, item, trials)

    run_command("search", config, overrides, body)


if __name__ == "__main__":
    search()
