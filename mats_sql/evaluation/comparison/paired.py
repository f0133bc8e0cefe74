"""Two sides' answers to the same questions, aligned: one row of answers per training seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mats_sql.errors import StageInputError

Run = Mapping[int, tuple[str, bool]]
"""One evaluated team: question id -> (database id, whether the selected SQL is correct)."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Answers as 0/1 arrays of shape [seeds, questions], and the database of each question (in question id order)."""

    baseline: np.ndarray
    treatment: np.ndarray
    db_ids: tuple[str, ...]

    @property
    def questions(self) -> int:
        """How many questions both sides answered."""
        return len(self.db_ids)

    @property
    def single(self) -> bool:
        """Whether each side is one run, so that differences are -1, 0 or 1."""
        return len(self.baseline) == len(self.treatment) == 1

    @property
    def differences(self) -> np.ndarray:
        """Treatment minus baseline per question, each the mean over its seeds."""
        return np.asarray(self.treatment.mean(axis=0) - self.baseline.mean(axis=0))

    @property
    def mean(self) -> float:
        """The difference of accuracies, as a fraction."""
        # From integers, so that swapping the sides flips the sign exactly.
        return sum(self.integer_sums) / (len(self.baseline) * len(self.treatment) * self.questions)

    @property
    def discordant(self) -> tuple[float, float]:
        """Questions right only under the treatment, and only under the baseline; means over all pairs of runs."""
        treatment, baseline = self.treatment.mean(axis=0), self.baseline.mean(axis=0)
        return float((treatment * (1 - baseline)).sum()), float((baseline * (1 - treatment)).sum())

    @property
    def by_database(self) -> dict[str, np.ndarray]:
        """The questions' differences per database, databases in name order."""
        differences, places = self.differences, np.array(self.db_ids)
        return {name: differences[places == name] for name in sorted(set(self.db_ids))}

    @property
    def integer_sums(self) -> list[int]:
        """The databases' sums of differences times (baseline seeds * treatment seeds): whole numbers, exactly."""
        scaled = len(self.baseline) * self.treatment.sum(axis=0) - len(self.treatment) * self.baseline.sum(axis=0)
        places = np.array(self.db_ids)
        return [int(scaled[places == name].sum()) for name in sorted(set(self.db_ids))]


def pair_runs(baseline: Run | Sequence[Run], treatment: Run | Sequence[Run]) -> Paired:
    """Align runs by question id.

    Raises :class:`StageInputError` when a side is empty or any two runs differ in their questions or databases.
    """
    sides = [_listed(baseline), _listed(treatment)]
    first = sides[0][0] if sides[0] else {}
    if not first or not sides[1]:
        raise StageInputError("each side of a comparison must hold a run with questions, but one is empty; evaluate it")
    places = {question_id: db_id for question_id, (db_id, _) in first.items()}
    for run in (*sides[0], *sides[1]):
        odd = sorted(places.items() ^ {question_id: db_id for question_id, (db_id, _) in run.items()}.items())
        if odd:
            raise StageInputError(
                f"compared runs must answer the same questions, but they differ in {len(odd)}, first (question, "
                f"database) {odd[0]}; evaluate both on one question set"
            )
    order = sorted(places)
    arrays = [np.array([[int(run[item][1]) for item in order] for run in runs], dtype=np.int64) for runs in sides]
    return Paired(arrays[0], arrays[1], tuple(places[item] for item in order))


def _listed(side: Run | Sequence[Run]) -> list[Run]:
    return [side] if isinstance(side, Mapping) else list(side)
