"""From a search to a champion: `main` goes on with what a search found, and promotes the team that validation prefers.

The final set chooses neither: a regime's settings and the team to promote are both the best on the validation split.
What the gates of a promotion then read lies outside it.
"""

from __future__ import annotations

from mats_sql.config import Experiment, regime_label
from mats_sql.errors import PromotionRefused
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline.ahead import process_count
from mats_sql.pipeline.evaluate import Evaluated, read_candidates, selected_correct
from mats_sql.pipeline.promote import promote_team
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.search_workers import search_regimes
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import Artifact


def search_first(workspace: Workspace) -> None:
    """Search the regimes whose settings nobody told, with ``main.search``; the winners' teams get their aliases.

    A search that has had its trials is not run again.
    """
    experiment = workspace.experiment
    if experiment.main.search and (regimes := regimes_to_search(experiment)):
        workers = min(process_count(experiment), experiment.search.parallel)
        search_regimes(workspace, regimes, workers=workers)


def regimes_to_search(experiment: Experiment) -> list[str]:
    """Return the regimes that ``tuned`` does not name."""
    return [regime for regime in experiment.regimes if regime_label(regime) not in experiment.tuned]


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


def _mean_on(question_ids: frozenset[int], candidates: Artifact) -> float:
    correct = [value for key, value in selected_correct(read_candidates(candidates)).items() if key in question_ids]
    return sum(correct) / len(correct)
