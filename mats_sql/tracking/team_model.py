"""The team as an MLflow model: ``mlflow.pyfunc.load_model("models:/….team@champion").predict(table)``.

MLflow's python_function flavor calls :func:`_load_pyfunc` of the module that the model names
(https://mlflow.org/docs/latest/ml/model/#custom-python-models, "loader module").
"""

from __future__ import annotations

import os
import weakref
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from mats_sql.benchmark import Benchmark, Question, SchemaTexts, schema_from_sqlite
from mats_sql.config import BenchmarkSettings
from mats_sql.digests import digest_json
from mats_sql.team import Task, Team, TeamAnswer, open_team, read_settings


class TeamModel:
    """Answers questions about SQLite files.

    The models are loaded at the first question and then stay loaded, as many as ``generation.loaded_models`` allows:
    where that is fewer than the team has, a call loads each of them once, so ask many questions in one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schema_style = read_settings(folder).benchmark_settings()
        self._resources = ExitStack()
        self._team: Team | None = None
        weakref.finalize(self, self._resources.close)

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a row per question, in order.

        ``table`` has the columns ``question``, ``database`` (the path of a SQLite file) and optionally ``evidence``.
        The answer's columns are ``sql`` (empty when no candidate holds SQL), ``score`` (the selector's, or NaN),
        ``outcome`` of running it, and ``candidates``, how many distinct SQLs the selector chose among. Answers do not
        depend on what else is asked. Raises :class:`~mats_sql.errors.DatabaseError` for a bad database.
        """
        tasks = _tasks(table, self._schema_style)
        if self._team is None:
            self._team = open_team(self._folder, self._resources)
        answers = self._team.answer_many(tasks)
        return pd.DataFrame(
            [_row(answer) for answer in answers],
            columns=["sql", "score", "outcome", "candidates"],
            index=table.index,
        ).astype({"score": "float64", "candidates": "int64"})


def _load_pyfunc(path: str) -> TeamModel:
    return TeamModel(Path(path))


def _tasks(table: pd.DataFrame, style: BenchmarkSettings) -> list[Task]:
    files = {str(path): Path(str(path)).expanduser().resolve() for path in table["database"].unique()}
    schemas = {str(path): schema_from_sqlite(path) for path in files.values()}
    databases = {str(path): path for path in files.values()}
    texts = SchemaTexts(Benchmark("asked", Path(), (), {}, schemas, databases), style, _cache())
    evidences = table["evidence"].fillna("") if "evidence" in table else pd.Series("", index=table.index)
    tasks = []
    for text, database, evidence in zip(table["question"], table["database"], evidences, strict=True):
        path = files[str(database)]
        question_id = int(digest_json([text, evidence, path.name])[:12], 16)  # names the question for randomness
        question = Question(question_id, str(path), str(text), str(evidence))
        tasks.append(Task(question, texts.text_for(question), path))
    return tasks


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


def _row(answer: TeamAnswer) -> tuple[str, float | None, str, int]:
    chosen = answer.selected
    distinct = {row.sql for row in answer.candidates if row.eligible and row.sql is not None}
    return chosen.sql or "", chosen.score, chosen.execution.outcome.value, len(distinct)
