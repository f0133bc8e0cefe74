"""From a search to a champion: `main` goes on with what a search found, and promotes the team that validation prefers.

The final set chooses neither: a regime's settings and the team to promote are both the best on the validation split.
What the gates of a promotion then read lies outside it.
"""

from __future__ import annotations

from mats_sql.config import TunedSettings
from mats_sql.errors import PromotionRefused
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline.ahead import process_count
from mats_sql.pipeline.evaluate import Evaluated, read_candidates, selected_correct
from mats_sql.pipeline.promote import promote_team
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.search_workers import search_regimes
from mats_sql.pipeline.workspace import Workspace
from mats_sql.search import TrialSettings
from mats_sql.tracking import Artifact


def tuned_by_search(workspace: Workspace) -> Workspace:
    """Return a view in which each regime has the best settings of its search (``main.search``), which is run first.

    A search that has had its trials is not run again. Without ``main.search`` the view is the workspace itself.
    """
    experiment = workspace.experiment
    if not experiment.main.search:
        return workspace
    found = search_regimes(workspace, experiment.regimes, workers=process_count(experiment))
    tuned = {regime: _tuned(result.best.settings) for regime, result in found.items()}
    return workspace.within(experiment.model_copy(update={"tuned": tuned}), workspace.command)


def promote_best(workspace: Workspace, evaluated: Evaluated) -> None:
    """Promote the team with the highest selector EX on validation, or say which gate it does not pass.

    Of equal teams it is the first. A refusal ends nothing: the experiment is done, and the champion stays.
    """
    validation = validation_ids(steps.questions(workspace))
    scores = {result.run_id: _mean_on(validation, result.outputs["candidates"]) for _, result in evaluated}
    best = max(scores, key=lambda run_id: scores[run_id])
    team = next(team.label for team, result in evaluated if result.run_id == best)
    workspace.progress.note(f"{team} is best on validation: selector EX {100 * scores[best]:.2f}")
    try:
        promote_team(workspace, best)
    except PromotionRefused as refused:
        workspace.progress.note(f"not promoted: {refused}")


def _tuned(settings: TrialSettings) -> TunedSettings:
    return TunedSettings(beta=settings.beta, k=settings.k, learning_rate=settings.learning_rate)


def _mean_on(question_ids: frozenset[int], candidates: Artifact) -> float:
    correct = [value for key, value in selected_correct(read_candidates(candidates)).items() if key in question_ids]
    return sum(correct) / len(correct)
