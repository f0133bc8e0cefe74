"""What a run is called, and which of its settings MLflow's tables show: for readers alone, no fingerprint knows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mats_sql.config import Experiment

if TYPE_CHECKING:
    from mats_sql.pipeline.assemble import TeamModels
    from mats_sql.tracking import StageRun

PREVIEW_ROWS = 20
_TRAINED = "ORPO "


def run_title(subject: str, stage: str) -> str:
    """Return a run's name: what tells it from its siblings first, since a narrow column shows the beginning alone.

    ``ORPO COLLAB_V2, aware fixer`` and ``evaluate`` give ``COLLAB_V2, aware fixer · evaluate``.
    """
    return f"{subject.removeprefix(_TRAINED)} · {stage}"


def side_name(team: TeamModels) -> str:
    """Return a team's name where teams are compared: ``COLLAB_V2 (aware fixer)``."""
    name = team.name.removeprefix(_TRAINED)
    return f"{name} ({team.line.label})" if team.line else name


def described(finding: Sequence[str], table: str = "", next_command: str = "") -> str:
    """Return the top of a command's page: what was found, the table that says it, and what to run next."""
    lines = "\n".join(f"* {line}" for line in finding)
    following = f"Next: `{next_command}`" if next_command else ""
    return "\n\n".join(part for part in (lines, table.strip(), following) if part)


def preference_settings(experiment: Experiment) -> dict[str, object]:
    """Return what a search varies: ORPO's ``beta`` and ``learning_rate``, and how many samples pairs are made of."""
    return {
        "beta": experiment.orpo.beta,
        "learning_rate": experiment.orpo.learning_rate,
        "k": experiment.pairs.k or experiment.rollout.critiques,
    }


def preference_tags(experiment: Experiment) -> dict[str, str]:
    """Return the same as run and version tags: floats to their last digit."""
    return {name: repr(value) for name, value in preference_settings(experiment).items()}


def team_parameters(experiment: Experiment, team: TeamModels) -> dict[str, object]:
    """Return what tells a team's run from other teams' when MLflow compares them side by side.

    ``seed`` is the number of its training seed, 0 where there is one alone; ``root_seed`` the experiment's. Only a team
    with an agent after ORPO has ``beta``, ``learning_rate`` and ``k``; ``candidates`` is how many it draws.
    """
    return {
        "team": team.name,
        "regime": team.regime or "none",
        "fixer": team.line.critique.value if team.line else "none",
        "seed": team.seed or 0,
        "root_seed": experiment.seed,
        "candidates": experiment.policy.k,
        **team.preference,
    }


def log_previews(run: StageRun, path: Path) -> None:
    """Log the first rows of a Parquet file, or of each in a folder, as tables: the UI shows no Parquet."""
    import pyarrow.parquet as pq

    for table in [path] if path.is_file() else sorted(path.glob("*.parquet")):
        with pq.ParquetFile(table) as stored:
            for rows in stored.iter_batches(batch_size=PREVIEW_ROWS):
                run.log_table(f"previews/{table.stem}", rows.to_pandas())
                break
