"""`promote`: move the alias `champion` to the team of an evaluate run, if it passes the gates."""

from __future__ import annotations

from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import lineage, lineage_text, promote, team_of_run


def promote_team(workspace: Workspace, run_id: str) -> None:
    """Promote the team that a run evaluated; raises :class:`~mats_sql.errors.PromotionRefused` with the reasons."""
    store = workspace.store
    version = team_of_run(store, run_id)
    metrics = store.run(run_id).data.metrics
    promoted = promote(store, version, metrics, workspace.experiment.promote)
    before = f" (before: {promoted.before})" if promoted.before else ""
    workspace.progress.note(f"{promoted.champion} is champion{before}. It was made from:")
    workspace.progress.note(lineage_text(lineage(store, promoted.champion.uri)))
