"""Compare two teams at selector EX with honest statistics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.cli import experiment_options, run_command

if TYPE_CHECKING:
    from mats_sql.pipeline.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
@click.option("--baseline", default="indep", show_default=True, help="A regime, sft, planner, or run ids of evaluate.")
@click.option("--treatment", default="collab", show_default=True, help="Likewise; run ids are parted by commas.")
def compare(config: Path, overrides: tuple[str, ...], baseline: str, treatment: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.compare import compare_named

        compare_named(workspace, baseline, treatment)

    run_command("compare", config, overrides, body)


if __name__ == "__main__":
    compare()
