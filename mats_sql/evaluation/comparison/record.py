"""A family of comparisons as a file: every gap is computed once, and everybody who shows one reads it here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, RootModel, ValidationError

from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.statistics import Comparison

QuestionSets = Mapping[str, tuple[Comparison, ...]]


class _File(RootModel[dict[str, tuple[Comparison, ...]]]):
    model_config = ConfigDict(ser_json_inf_nan="strings")


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Question set -> one comparison per treatment, the decisions of a set corrected together (Holm)."""

    question_sets: QuestionSets

    def by_question_set(self) -> QuestionSets:
        return self.question_sets

    def of(self, question_set: str, treatment: str) -> Comparison:
        """Return one gap; raises :class:`StageInputError` when it was not compared."""
        for found in self.question_sets.get(question_set, ()):
            if found.treatment == treatment:
                return found
        raise StageInputError(f"a gap must have been compared, but {treatment!r} on {question_set!r} was not; compare")


def write_comparisons(comparisons: Comparisons, path: Path) -> None:
    path.write_text(_File(dict(comparisons.question_sets)).model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_comparisons(path: Path) -> Comparisons:
    try:
        return Comparisons(_File.model_validate_json(path.read_bytes()).root)
    except (OSError, ValidationError) as error:
        raise StageInputError(f"comparisons must be readable, but {path}: {error}; run compare again") from None
