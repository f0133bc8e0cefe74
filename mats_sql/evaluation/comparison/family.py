"""A family of comparisons: several treatments against one baseline, on several question sets, as one file.

Every gap is computed once, here, and everybody who shows one reads the file: two pages cannot disagree on a verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, RootModel, ValidationError

from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.paired import Run
from mats_sql.evaluation.comparison.statistics import Comparison, compare_all
from mats_sql.evaluation.question_results import restrict
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.sql.verdict import VerdictClass

ALL, REST = "all usable dev questions", "outside the validation split"


@dataclass(frozen=True, slots=True)
class EvaluatedSide:
    """One side of a comparison: its name and the judged candidates of each of its training seeds."""

    name: str
    runs: Sequence[Sequence[JudgedCandidate]]


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Question set -> one comparison per treatment; the decisions of a set are corrected together (Holm)."""

    question_sets: Mapping[str, tuple[Comparison, ...]]

    def of(self, question_set: str, treatment: str) -> Comparison:
        """Return one gap; raises :class:`StageInputError` when it was not compared."""
        for found in self.question_sets.get(question_set, ()):
            if found.treatment == treatment:
                return found
        raise StageInputError(
            f"a gap must have been compared before it is shown, but {treatment!r} on {question_set!r} was not; "
            "run compare with it"
        )


def compare_sides(
    baseline: EvaluatedSide, treatments: Sequence[EvaluatedSide], validation: Collection[int]
) -> Comparisons:
    """Compare at selector EX on all usable dev questions, and on those outside validation where there are such.

    Raises :class:`StageInputError` when the sides did not answer the same questions.
    """
    everything = frozenset(row.question_id for row in baseline.runs[0])
    rest = everything - frozenset(validation)
    sets = {ALL: everything} | ({REST: rest} if rest and rest != everything else {})
    return Comparisons(
        {
            name: tuple(
                compare_all(
                    _selected_correct(baseline, ids),
                    {side.name: _selected_correct(side, ids) for side in treatments},
                    baseline_name=baseline.name,
                )
            )
            for name, ids in sets.items()
        }
    )


class _File(RootModel[dict[str, tuple[Comparison, ...]]]):
    model_config = ConfigDict(ser_json_inf_nan="strings")


def write_comparisons(comparisons: Comparisons, path: Path) -> None:
    """Write a family as JSON; unknown numbers are the text ``NaN``."""
    path.write_text(_File(dict(comparisons.question_sets)).model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_comparisons(path: Path) -> Comparisons:
    """Read what :func:`write_comparisons` wrote, exactly; raises :class:`StageInputError` when it is damaged."""
    try:
        return Comparisons(_File.model_validate_json(path.read_bytes()).root)
    except OSError as error:
        problem = error.strerror or str(error)
    except ValidationError as error:
        problem = f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
    raise StageInputError(f"comparisons must be readable, but {path}: {problem}; run compare again")


def _selected_correct(side: EvaluatedSide, ids: Collection[int]) -> list[Run]:
    return [
        {
            row.question_id: (row.db_id, row.verdict is VerdictClass.CORRECT)
            for row in restrict(candidates, ids)
            if row.selected
        }
        for candidates in side.runs
    ]
