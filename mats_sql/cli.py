"""What every entry point shares: its options, one line per error, one MLflow run around its stages."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mats_sql.choices import PreferredAgent, Regime
from mats_sql.errors import ConfigError, MatsError

if TYPE_CHECKING:
    from mats_sql.config import Experiment
    from mats_sql.pipeline.workspace import Workspace
    from mats_sql.tracking.stage_run import StageRun

DEFAULT_CONFIG = Path("configs/quickstart.yaml")
EXIT_USER_ERROR = 2

Function = TypeVar("Function", bound=Callable[..., object])
Body = Callable[["Workspace"], None]


def experiment_options(function: Function) -> Function:
    """Add ``--config`` and ``--set``, which every stage takes."""
    function = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a setting, e.g. --set orpo.beta=0.1; several may stand in one, parted by spaces.",
    )(function)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=DEFAULT_CONFIG,
        show_default=True,
        help="The experiment, a YAML file.",
    )(function)


def regime_option(function: Function) -> Function:
    """Add ``--regime``: one rule that labels critiques, or all of the experiment's."""
    return click.option(
        "--regime",
        type=click.Choice([*(regime.value for regime in Regime), "all"]),
        default="all",
        show_default=True,
        help="The rule that labels critiques; all: every regime of the experiment.",
    )(function)


def preferred_agent_option(function: Function) -> Function:
    """Add ``--agent``: whom preference pairs are made for."""
    return click.option(
        "--agent",
        type=click.Choice([agent.value for agent in PreferredAgent]),
        default=PreferredAgent.VALIDATORS.value,
        show_default=True,
        help="Whose answers: the validators' critiques, the planner's plans or the fixer's SQL.",
    )(function)


def run_command(name: str, config: Path, overrides: Sequence[str], body: Body) -> None:
    """Run an entry point's body inside its MLflow run, or print why not and exit with code 2.

    The run is the one that ``mlflow run`` made, if any; the stages that the body asks for are nested under it.
    """
    with one_line_errors():
        experiment = _load(config, overrides)
        from mats_sql.pipeline.progress import Progress
        from mats_sql.pipeline.workspace import Workspace
        from mats_sql.tracking.stage import Stage, StageKey, run_stage
        from mats_sql.tracking.store import connect

        store = connect(experiment.name, experiment.work_dir)
        stage = Stage(StageKey(name, 1), name, {"experiment": experiment.model_dump(mode="json")}, reusable=False)
        with Workspace(experiment, store, Progress()) as workspace:

            def compute(run: StageRun) -> None:
                workspace.command = run
                body(workspace)

            run_stage(store, stage, compute)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a :class:`MatsError` as one line on standard error and exit with code 2; everything else passes."""
    try:
        yield
    except MatsError as error:
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(EXIT_USER_ERROR)


def _load(config: Path, overrides: Sequence[str]) -> Experiment:
    from mats_sql.config import load_experiment

    return load_experiment(config, split_overrides(overrides))


def split_overrides(overrides: Sequence[str]) -> list[str]:
    """Return one ``key=value`` per item: MLflow passes one parameter, so several may be parted by spaces."""
    try:
        return [part for override in overrides for part in shlex.split(override)]
    except ValueError as error:
        raise ConfigError(f"overrides must read key=value, but got {list(overrides)!r}: {error}; quote them") from None
