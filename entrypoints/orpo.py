"""Train the validators (on a regime's pairs), the planner or the fixer with ORPO."""

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
def orpo(config: Path, overrides: tuple[str, ...], agent: str, regime: str) -> None:
    def body(workspace: Workspace) -> None:
        from mats_sql.pipeline.agent_preferences import prefer_agent

        prefer_agent(workspace, PreferredAgent(agent), regime)

    run_command("orpo", config, overrides, body)


if __name__ == "__main__":
    orpo()
