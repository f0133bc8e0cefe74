"""What all commands share: their options, the MLflow run they work in, and one line when the input is bad.

A command reads an experiment, opens the tracking store and runs inside one MLflow run. Bad input is one line on
standard error and exit code 2.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from mats_sql.choices import PreferredAgent, Regime
from mats_sql.errors import ConfigError, MatsError, disk_trouble
from mats_sql.threads import let_threads_sleep

if TYPE_CHECKING:
    from mats_sql.config import Experiment
    from mats_sql.pipeline import Workspace
    from mats_sql.tracking import StageRun

DEFAULT_CONFIG = Path("configs/quickstart.yaml")
EXIT_USER_ERROR = 2
PATH = click.Path(path_type=Path)

Function = TypeVar("Function", bound=Callable[..., object])
Body = Callable[["Workspace"], object]


def count_or_none(context: click.Context, parameter: click.Parameter, text: str) -> int | None:
    """Return an option's whole number from 1, none for "": `mlflow run` gives a parameter that is not set as that."""
    return click.IntRange(min=1)(text, parameter, context) if text else None


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
        "--config", type=PATH, default=DEFAULT_CONFIG, show_default=True, help="The experiment, a YAML file."
    )(function)


regime_option = click.option(
    "--regime",
    default="all",
    show_default=True,
    help=f"The rule that labels critiques: {', '.join(Regime)} or package.module:function; all: every regime of the "
    "experiment, and where teams are trained its controls, which go by names like 'indep (balanced)'.",
)
preferred_agent_option = click.option(
    "--agent",
    type=click.Choice([agent.value for agent in PreferredAgent]),
    default=PreferredAgent.VALIDATORS.value,
    show_default=True,
    help="Whose answers: the validators' critiques, the planner's plans or the fixer's SQL.",
)


def run_command(name: str, config: Path, overrides: Sequence[str], body: Body, *, concurrent: bool = False) -> None:
    """Run an entry point's body inside its MLflow run, or print why not and exit with code 2.

    The run is the one that ``mlflow run`` made, if any; the stages that the body asks for are nested under it. A
    command waits for an equal one to end, unless it is ``concurrent``: then each works in a run of its own.
    """
    with one_line_errors():
        _require_one_process()
        let_threads_sleep()
        experiment = load(config, overrides)
        from mats_sql.pipeline import Progress, Workspace
        from mats_sql.tracking import Stage, StageKey, addresses, connect, run_stage, save_views

        store = connect(experiment.name, experiment.work_dir)
        save_views(store.client, store.experiment_id)
        # where a search's trials are kept decides nothing, and its address may hold a password
        settings = {"experiment": experiment.model_dump(mode="json", exclude={"search": {"storage"}})}
        stage = Stage(StageKey(f"command-{name}", 1), name, settings, reusable=False, concurrent=concurrent)
        with Workspace(experiment, store, Progress()) as workspace:

            def compute(run: StageRun) -> None:
                workspace.command = run
                body(workspace)

            result = run_stage(store, stage, compute)
        for line in addresses(store, result.run_id):
            click.echo(line, err=True)


def _require_one_process() -> None:
    """Refuse to be one of several: each would wait for the first one's stage, and that one for the others' steps."""
    started = os.environ.get("WORLD_SIZE", "1")
    if started != "1":
        raise ConfigError(
            f"a command must run in 1 process, but WORLD_SIZE is {started}; start it without a launcher: the setting "
            "training.processes starts one"
        )


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a :class:`MatsError` as one line on standard error and exit with code 2, and so a full or read-only disk.

    Everything else passes.
    """
    try:
        yield
    except MatsError as error:
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(EXIT_USER_ERROR)
    except Exception as error:
        trouble = disk_trouble(error)
        if not trouble:
            raise
        click.echo(f"error: the disk must take what is written, but {trouble}; mend it and start again", err=True)
        sys.exit(EXIT_USER_ERROR)


def split_overrides(overrides: Sequence[str]) -> list[str]:
    """Return one ``key=value`` per item: MLflow passes one parameter, so several may be parted by spaces."""
    try:
        return [part for override in overrides for part in shlex.split(override)]
    except ValueError as error:
        raise ConfigError(f"overrides must read key=value, but got {list(overrides)!r}: {error}; quote them") from None


def load(config: Path, overrides: Sequence[str]) -> Experiment:
    """Return the experiment of a file with ``--set`` overrides; raises :class:`ConfigError`."""
    from mats_sql.config import load_experiment

    return load_experiment(config, split_overrides(overrides))
