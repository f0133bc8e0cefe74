"""Optuna's own figures of a search, drawn from the table of trials."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from mats_sql.config import SearchSettings
from mats_sql.search.trials import TrialRow, TrialState

_VALUE = "selector EX on validation"
_LEAST_FOR_IMPORTANCE = 4
_STATES = {
    TrialState.FINISHED: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


def optuna_figures(settings: SearchSettings, trials: Sequence[TrialRow]) -> Mapping[str, Figure]:
    """Return Optuna's history, slice, parallel-coordinates and, with enough trials, importance figure by name.

    They show finished trials alone: a pruned one's selector EX is that of other questions. Importances (PED-ANOVA) need
    some trials and values that differ; without them there is no such figure.
    """
    study = _as_study(settings, trials)
    finished = [trial.selector_ex for trial in trials if trial.state is TrialState.FINISHED]
    if len(finished) < 2:
        return {}
    with _quiet_pyplot():
        from optuna.visualization import matplotlib as plots

        figures = {
            "history": _drawn(lambda: plots.plot_optimization_history(study, target_name=_VALUE)),
            "slice": _drawn(lambda: plots.plot_slice(study, target_name=_VALUE), width=12.0),
            "parallel_coordinates": _drawn(lambda: plots.plot_parallel_coordinate(study, target_name=_VALUE)),
        }
        if len(finished) >= _LEAST_FOR_IMPORTANCE and len(set(finished)) > 1:
            figures["importance"] = _drawn(lambda: plots.plot_param_importances(study, target_name=_VALUE))
        return figures


def _as_study(settings: SearchSettings, trials: Sequence[TrialRow]) -> optuna.Study:
    """Return a study in memory whose trials are the slots of the budget: no voided attempts, numbered as told."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials([_as_trial(settings, trial) for trial in trials])
    return study


def _as_trial(settings: SearchSettings, trial: TrialRow) -> FrozenTrial:
    chosen = trial.settings
    space: dict[str, BaseDistribution] = {
        "beta": FloatDistribution(*settings.beta, log=True),
        "k": CategoricalDistribution(settings.k),
        "learning_rate": FloatDistribution(*settings.learning_rate, log=True),
    }
    params = {"beta": chosen.beta, "k": chosen.k, "learning_rate": chosen.learning_rate}
    state = _STATES[trial.state]
    if state is not OptunaState.COMPLETE:
        return create_trial(state=state)  # a process that died may have drawn nothing, and none of these is shown
    return create_trial(state=state, params=params, distributions=space, value=trial.selector_ex)


def _drawn(draw: Callable[[], Axes | Any], *, width: float = 9.0) -> Figure:
    from matplotlib import pyplot as plt

    axes = draw()
    figure = (axes if isinstance(axes, Axes) else axes.flat[0]).figure
    assert isinstance(figure, Figure)
    plt.close(figure)
    figure.set_size_inches(width, 5.0)
    for part in figure.axes:
        if part.get_xscale() == "log":
            part.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            part.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            part.xaxis.set_minor_locator(NullLocator())  # their labels run into each other in narrow plots
    return figure


@contextmanager
def _quiet_pyplot() -> Iterator[None]:
    """Let Optuna's plots, which use pyplot, open no display, warn of nothing and leave the style as it was."""
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")
        mpl.use("agg", force=True)
        yield
