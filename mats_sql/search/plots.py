"""The search at a glance: every trial over beta and learning rate, coloured by selector EX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mats_sql.evaluation.report import GREY, INK, new_figure, plain_axes
from mats_sql.search.trials import TrialRow, TrialState, best_trial

MARKERS = "osD^vP*X"


def search_scatter(trials: Sequence[TrialRow]) -> Figure:
    """Return trials by beta and learning rate (log axes), with a marker per K, coloured by selector EX."""
    marks = "Ring: best trial. Plus: pruned trial. Cross: failed trial."
    figure = new_figure(f"ORPO search: {len(trials)} trials", width=8.4, height=5.2, subtitle=marks)
    axes = plain_axes(figure.add_subplot(), grid="both")
    for state, mark in ((TrialState.FAILED, "x"), (TrialState.PRUNED, "+")):
        ended = [trial.settings for trial in trials if trial.state is state]
        axes.plot([one.beta for one in ended], [one.learning_rate for one in ended], mark, color=GREY, markersize=8)
    finished = [trial for trial in trials if trial.state is TrialState.FINISHED]
    if finished:
        _scatter(figure, axes, finished)
        _ring(axes, best_trial(tuple(trials)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    axes.set_xlabel("beta")
    axes.set_ylabel("learning rate")
    return figure


def _scatter(figure: Figure, axes: Axes, finished: Sequence[TrialRow]) -> None:
    values = [100 * (trial.selector_ex or 0.0) for trial in finished]
    colours = ScalarMappable(Normalize(min(values), max(values)), "viridis")
    shades = colours.to_rgba(np.array(values))
    for marker, k in zip(MARKERS, sorted({trial.settings.k for trial in finished}), strict=False):
        axes.plot([], [], marker, color=GREY, markersize=9, label=f"K = {k}")
        for trial, shade in zip(finished, shades, strict=True):
            if trial.settings.k == k:
                spot = trial.settings.beta, trial.settings.learning_rate
                axes.plot(*spot, marker, color=tuple(shade), markersize=10, markeredgecolor="white")
    figure.colorbar(colours, ax=axes, label="selector EX on the validation split, %").outline.set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(MARKERS), frameon=False, fontsize=9)


def _ring(axes: Axes, best: TrialRow) -> None:
    spot = best.settings.beta, best.settings.learning_rate
    axes.plot(*spot, "o", markersize=18, fillstyle="none", color="#D55E00", markeredgewidth=1.8)
    note = f"trial {best.number}: {100 * (best.selector_ex or 0.0):.1f}%"
    axes.annotate(note, spot, xytext=(12, 10), textcoords="offset points", fontsize=9, color=INK)
