"""Join the better and worse answers of a pool to preference pairs; a regime labels the validators' critiques."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mats_sql.choices import PreferredAgent
from mats_sql.cli import experiment_options, preferred_agent_option, regime_option, run_command

if TYPE_CHECKING:
    from mats_sql.pipeline.workspace import Workspace


@click.command(help=__doc__)
@experiment_options
@preferred_agent_option
@regime_option
def pairs(config: Path, overrides: tuple[str, ...], agent: str, regime: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.agent_preferences import build_pairs

        build_pairs(workspace, PreferredAgent(agent), regime)

    run_command("pairs", config, overrides, body)


if __name__ == "__main__":
    pairs()
