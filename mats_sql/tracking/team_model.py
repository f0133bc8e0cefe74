"""The team as an MLflow model: ``mlflow.pyfunc.load_model("models:/….team@champion").predict(table)``.

MLflow's python_function flavor calls :func:`_load_pyfunc` of the module that the model names
(https://mlflow.org/docs/latest/ml/model/#custom-python-models, "loader module").
"""

from __future__ import annotations

import os
import time
import weakref
from pathlib import Path

import pandas as pd

from mats_sql.team import TeamAnswer
from mats_sql.tracking.answer_traces import AnswerTraces
from mats_sql.tracking.asked import Asked, Asker, Unreadable
from mats_sql.tracking.bases import complete

COLUMNS = ("sql", "score", "outcome", "candidates", "error")


class TeamModel:
    """Answers questions about SQLite files and database servers.

    The models are loaded at the first question and then stay loaded, as many as ``generation.loaded_models`` allows:
    where that is fewer than the team has, a call loads each of them once, so ask many questions in one.
    """

    def __init__(self, folder: Path) -> None:
        self._asker = Asker(folder, _cache())
        self._traces = AnswerTraces(folder)
        weakref.finalize(self, self._asker.close)

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a row per question, in order.

        ``table`` has the columns ``question``, ``database`` (a SQLite file's path or a server's URL) and optionally
        ``evidence``. The answer's columns are ``sql`` (empty when no candidate holds SQL), ``score`` (the selector's,
        or NaN), ``outcome`` of running it, ``candidates``, how many distinct SQLs the selector chose among, and
        ``error``, why it did not run (empty where it did). A database that cannot be read gives the outcome
        ``error``, and its cause, in the rows about it. Answers do not depend on what else is asked. The first of them
        are traced (:mod:`mats_sql.tracking.answer_traces`).
        """
        evidences = table["evidence"].fillna("") if "evidence" in table else [""] * len(table)
        asked = [
            Asked(str(text), str(database), str(evidence))
            for text, database, evidence in zip(table["question"], table["database"], evidences, strict=True)
        ]
        started = time.time_ns()
        found = self._asker.answer_many(asked)
        self._traces.log([answer for answer in found if isinstance(answer, TeamAnswer)], (started, time.time_ns()))
        answers = pd.DataFrame([_row(answer) for answer in found], columns=list(COLUMNS), index=table.index)
        return answers.astype({"score": "float64", "candidates": "int64"})


def _load_pyfunc(path: str) -> TeamModel:
    return TeamModel(complete(Path(path)))


def _cache() -> Path | None:
    """Return the folder where value indexes are kept: ``MATS_CACHE``, or the user's own; None if that is not writable.

    A command keeps its own in ``<work_dir>/cache``: where ``MATS_CACHE`` names that folder, they are shared.
    """
    if named := os.environ.get("MATS_CACHE"):
        return Path(named).expanduser()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mats-sql"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _row(answer: TeamAnswer | Unreadable) -> tuple[str, float | None, str, int, str]:
    if not isinstance(answer, TeamAnswer):
        return "", None, "error", 0, str(answer)
    chosen = answer.selected
    distinct = {row.sql for row in answer.candidates if row.eligible and row.sql is not None}
    return chosen.sql or "", chosen.score, chosen.execution.outcome.value, len(distinct), chosen.execution.error
