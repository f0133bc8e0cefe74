"""Optuna's figures of a search: which there are, and that a pruned or failed trial is in none of them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import pyplot as plt

from mats_sql.search.histories import optuna_figures
from mats_sql.search.trials import TrialRow, TrialSettings, TrialState
from tests.search.searcher import SETTINGS


def rows(values: Sequence[float]) -> list[TrialRow]:
    """Return finished trials of these values, a pruned one and one whose process died before it drew anything."""
    settings = [TrialSettings(0.1 + 0.1 * i, (2, 4, 8)[i % 3], 1e-4 + 2e-5 * i) for i in range(len(values))]
    ended = [
        TrialRow(i, one, TrialState.FINISHED, value, "", {})
        for i, (one, value) in enumerate(zip(settings, values, strict=True))
    ]
    pruned = TrialRow(len(values), settings[0], TrialState.PRUNED, 0.99, "", {"questions": 20})
    dead = TrialRow(len(values) + 1, TrialSettings(float("nan"), 0, float("nan")), TrialState.FAILED, None, "died", {})
    return [*ended, pruned, dead]


def test_a_search_of_some_trials_has_every_figure() -> None:
    figures = optuna_figures(SETTINGS, rows([0.5, 0.6, 0.55, 0.4, 0.45]))
    assert set(figures) == {"history", "slice", "parallel_coordinates", "importance"}
    assert plt.get_fignums() == []


def test_the_history_shows_finished_trials_alone() -> None:
    history = optuna_figures(SETTINGS, rows([0.5, 0.6, 0.55]))["history"]
    points = history.axes[0].collections[0].get_offsets()
    assert [tuple(point) for point in points.data] == [(0, 0.5), (1, 0.6), (2, 0.55)]


def test_importance_needs_trials_that_differ() -> None:
    assert "importance" not in optuna_figures(SETTINGS, rows([0.5, 0.5, 0.5, 0.5, 0.5]))
    assert "importance" not in optuna_figures(SETTINGS, rows([0.5, 0.6]))
    assert optuna_figures(SETTINGS, rows([0.5])) == {}
