"""The tasks that a stage works on: the questions table says which, the benchmark's files say what."""

from __future__ import annotations

from functools import lru_cache

from mats_sql.config import Experiment
from mats_sql.pipeline.data import DEV, TRAIN, read_split, require_train, source
from mats_sql.pipeline.tables import read_table
from mats_sql.rollout.sample import Source
from mats_sql.seeds import derive_seed
from mats_sql.tracking.artifact import Artifact


def usable_ids(questions: Artifact, split: str) -> tuple[int, ...]:
    """Return the usable question ids of a split, in order."""
    frame = read_table(questions.path)
    return tuple(int(value) for value in frame[(frame["split"] == split) & frame["usable"]]["question_id"])


def validation_ids(questions: Artifact) -> frozenset[int]:
    """Return the ids of the validation split of dev."""
    frame = read_table(questions.path)
    return frozenset(int(value) for value in frame[frame["in_validation"]]["question_id"])


def dev_source(experiment: Experiment, questions: Artifact) -> Source:
    """Return the usable dev questions."""
    return _source(experiment, DEV, usable_ids(questions, DEV))


def train_source(experiment: Experiment, questions: Artifact, limit: int | None = None) -> Source:
    """Return the usable train questions, or a fixed random part of ``limit`` of them."""
    require_train(experiment)
    ids = usable_ids(questions, TRAIN)
    if limit is not None:
        ranked = sorted(ids, key=lambda question_id: derive_seed(experiment.seed, "train-part", question_id))
        ids = tuple(sorted(ranked[:limit]))
    return _source(experiment, TRAIN, ids)


@lru_cache(maxsize=4)
def _source(experiment: Experiment, split: str, ids: tuple[int, ...]) -> Source:
    return source(read_split(experiment, split), ids, experiment.benchmark)
