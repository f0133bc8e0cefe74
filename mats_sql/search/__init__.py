"""The Optuna study over ORPO's beta, K and learning rate: resumable, shared by processes, the same for every regime.

``study`` runs it, ``trials`` holds its records, ``ledger`` says which trial stands for which number of the budget,
``knowledge`` what a trial knows of the others, ``watch`` ends a hopeless one early. Optuna's storage is the truth;
mirroring trials into MLflow is the search stage's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.search.histories import optuna_figures
    from mats_sql.search.plots import search_scatter
    from mats_sql.search.study import StudyAddress, holds, known_trials, open_study, run_search
    from mats_sql.search.trials import SearchResult, TrialResult, TrialRow, TrialSettings, TrialState
    from mats_sql.search.watch import Watch

__all__ = [
    "SearchResult",
    "StudyAddress",
    "TrialResult",
    "TrialRow",
    "TrialSettings",
    "TrialState",
    "Watch",
    "holds",
    "known_trials",
    "open_study",
    "optuna_figures",
    "run_search",
    "search_scatter",
]

__getattr__ = Face(
    __name__,
    {
        "histories": ("optuna_figures",),
        "plots": ("search_scatter",),
        "study": ("StudyAddress", "holds", "known_trials", "open_study", "run_search"),
        "trials": ("SearchResult", "TrialResult", "TrialRow", "TrialSettings", "TrialState"),
        "watch": ("Watch",),
    },
)
