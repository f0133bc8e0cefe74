"""The answers of a loaded team as traces, in the experiment that made the team.

Traces go to the tracking store of the process (``MLFLOW_TRACKING_URI``), if the team's run is in it: an answer given
elsewhere leaves nothing behind. A store that fails costs traces, never an answer.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from mats_sql.errors import ConfigError, one_line
from mats_sql.team import TeamAnswer, spoken
from mats_sql.tracking.patience import impatient
from mats_sql.tracking.traces import TracedAnswer, TraceSource, log_traces

_logger = logging.getLogger(__name__)

TRACES_VARIABLE = "MATS_TRACES"
MAX_TRACES = 100
_LOCAL = "sqlite:///"


class AnswerTraces:
    """Logs the first answers of one loaded team, as many as ``MATS_TRACES`` says (100 by default, 0 for none).

    ``folder`` is the team's, inside its MLflow model. Raises :class:`ConfigError` when the variable holds no number.
    """

    def __init__(self, folder: Path) -> None:
        self._model = folder.parent
        self._left = _limit()
        self._source: TraceSource | None = None

    def log(self, answers: Sequence[TeamAnswer], waited_ns: tuple[int, int]) -> None:
        """Log answers that somebody has waited for, from when to when (nanoseconds of the epoch)."""
        wanted = answers[: self._left]
        if not wanted:
            return
        try:
            with impatient():
                self._source = self._source or self._found()
                if self._source is None:
                    self._left = 0
                    return
                source = TraceSource(self._source.experiment_id, "", self._source.model_id, waited_ns)
                log_traces(mlflow.get_tracking_uri(), source, [answered(answer, "predict") for answer in wanted])
            self._left -= len(wanted)
        except Exception as error:  # noqa: BLE001 (whatever a store raises: the answer is what was asked for)
            _logger.warning("answers are traced no more: %s", one_line(error))
            self._left = 0

    def _found(self) -> TraceSource | None:
        """Return where the team comes from, if this process's store knows it; no store is made by looking."""
        uri = mlflow.get_tracking_uri()
        if not (self._model / "MLmodel").exists() or (
            uri.startswith(_LOCAL) and not Path(uri.removeprefix(_LOCAL)).exists()
        ):
            return None
        model = Model.load(str(self._model))
        try:
            run = MlflowClient(uri).get_run(model.run_id)
        except MlflowException:
            return None
        return TraceSource(run.info.experiment_id, "", model.model_id or "")


def answered(answer: TeamAnswer, how: str) -> TracedAnswer:
    """Return an answer to a question of nobody's benchmark; ``how`` it was asked is a tag."""
    question = answer.task.question
    return TracedAnswer(str(question.question_id), "answer", answer.task, spoken(answer), {"asked": how})


def _limit() -> int:
    text = os.environ.get(TRACES_VARIABLE, str(MAX_TRACES))
    if not text.isdigit():
        raise ConfigError(f"{TRACES_VARIABLE} must be a number of traces, 0 for none, but got {text!r}; mend it")
    return int(text)
