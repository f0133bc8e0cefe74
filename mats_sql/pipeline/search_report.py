"""The end of a search: the winner's team gets its alias, the run its figures, the user the next command."""

from __future__ import annotations

import pandas as pd
from rich.console import Console

from mats_sql.pipeline.best_settings import ALIAS
from mats_sql.pipeline.search import RegimeSearch, team_version, trial_line, trial_team
from mats_sql.pipeline.shown import described
from mats_sql.pipeline.workspace import Workspace
from mats_sql.search import SearchResult, TrialRow, TrialState, optuna_figures, search_scatter
from mats_sql.tracking import StageRun, Version, set_alias


def report_search(workspace: Workspace, search: RegimeSearch, result: SearchResult) -> Version:
    """Give the winner's team the alias ``best-of-search-<regime>``, tell and log what was found; return its version.

    The team is the one that the winning trial trained: its stages are reused. Only where they are missing (a trial of
    another machine, on another tracking store) are they run here.
    """
    best = result.best
    view, team = trial_team(workspace, search, best.settings)
    version = team_version(view, team)
    set_alias(workspace.store, version, f"{ALIAS}{search.label}")
    findings = [
        f"Best of {len(result.trials)} trials for {search.label}: {trial_line(best)}",
        *_against_own(search, result),
        result.notice,
        f"{version} is {version.name}@{ALIAS}{search.label}.",
    ]
    following = f'mats-sql evaluate --team {search.labelling.key} --set "{best.settings.overrides()}"'
    console = Console(highlight=False, soft_wrap=True)
    for line in (*findings, "With its settings, to their last digit:", f"  {following}"):
        console.print(line, markup=False)
    if workspace.command is not None:
        _log(workspace.command, search, result, version)
        workspace.command.description += f"{described(findings, '', following)}\n\n"
    return version


def _against_own(search: RegimeSearch, result: SearchResult) -> list[str]:
    """Return the best trial's gain over the experiment's own settings, where they were a trial that finished."""
    own = [row for row in result.trials if row.settings == search.own and row.state is TrialState.FINISHED]
    if not own:
        return []
    gain = 100 * ((result.best.selector_ex or 0.0) - (own[0].selector_ex or 0.0))
    return [f"The experiment's own settings (trial {own[0].number}) are {gain:.2f} pp below it on the same questions."]


def _log(run: StageRun, search: RegimeSearch, result: SearchResult, version: Version) -> None:
    label, best = search.label, result.best
    run.log_metrics({f"{label}/best_selector_ex": best.selector_ex or 0.0})
    run.tag(
        {
            f"best.{label}.beta": repr(best.settings.beta),
            f"best.{label}.k": best.settings.k,
            f"best.{label}.learning_rate": repr(best.settings.learning_rate),
            f"best.{label}.set": best.settings.overrides(),
            f"best.{label}.team": str(version),
            f"best.{label}.notice": result.notice,
        }
    )
    run.log_table(f"search_{label}", pd.DataFrame([_cells(row) for row in result.trials]))
    run.log_figure(f"search_{label}", search_scatter(result.trials))
    for name, figure in optuna_figures(search.settings, result.trials).items():
        run.log_figure(f"search_{label}_{name}", figure)


def _cells(row: TrialRow) -> dict[str, object]:
    settings = row.settings
    return {
        "trial": row.number,
        "state": row.state.value,
        "beta": settings.beta,
        "k": settings.k,
        "learning_rate": settings.learning_rate,
        "selector_ex": row.selector_ex,
        "questions": row.diagnostics.get("questions"),
        "reason": row.reason,
    }
