"""Every tag and file name that this project writes into MLflow, spelled once (docs/tracking.md lists them)."""

from __future__ import annotations

import re

PROJECT = "mats.project"
PROJECT_NAME = "mats-sql"

STAGE = "mats.stage"
STAGE_VERSION = "mats.stage_version"
FINGERPRINT = "mats.fingerprint"
COMMIT = "mats.commit"
ERROR = "mats.error"
DAMAGED = "mats.damaged"
NOTE = "mlflow.note.content"
DIGEST = "mats.digest"
KIND = "mats.kind"
METRIC = "metric"
SECONDS = "stage.seconds"
"""The metric of how long a stage computed, in seconds of wall time."""
EVALUATION = "evaluation"
MEASURED_PART = "measured.part"
MEASURED_QUESTIONS = "measured.question_set"
MEASURED_RUN = "measured.run"
PROMOTION = "promotion"
CHAMPIONS = "mats.champions"
INPUT = "input"
PRIMARY_METRIC = "mlflow.experiment.primaryMetric.name"
FINAL_SET_LOOK = "mats.final_set_look"
FINAL_SET_LOOKS = "mats.final_set_looks"
PROTOCOL = "mats.protocol"
REPORT = "mats.report"

INPUTS_FILE = "inputs.json"
OUTPUTS_FILE = "outputs.json"
OUTPUTS_FOLDER = "outputs"
BASE = "base"
"""Kind and folder of a base that a server keeps once for the models on it."""

CHAMPION = "champion"

MAX_PARAMETER_CHARACTERS = 6000
MAX_TAG_CHARACTERS = 8000
MAX_DATASET_DIGEST_CHARACTERS = 16
QUESTION_SET_CHARACTERS = 16


EXPERIMENT_KIND, EXPERIMENT_KIND_TRAINING = "mlflow.experimentKind", "custom_model_development"
"""Makes the UI open the experiment as one of training runs, models and charts, not of traces and prompts."""

MAX_KEY_CHARACTERS = 250
_NOT_IN_KEYS = re.compile(r"[^/\w.\- :]")


def key(text: str) -> str:
    """Return a text as a name that MLflow accepts for a tag, parameter or metric."""
    return _NOT_IN_KEYS.sub("", text)[:MAX_KEY_CHARACTERS]


def capped(value: object, limit: int) -> str:
    """Return a value as text that MLflow accepts: at most ``limit`` characters, the cut marked."""
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
