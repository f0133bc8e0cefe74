"""All comparisons of one baseline: made once, written once, and read by every page that speaks of a gap.

A second computation of the same gap could correct for another family and come to another verdict; so there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mats_sql.choices import SeedsVary
from mats_sql.errors import StageInputError
from mats_sql.evaluation.comparison.bootstrap import DEFAULT_MARGIN
from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.comparison.statistics import compare_teams, corrected
from mats_sql.evaluation.comparison.survival import Survival, survivals
from mats_sql.evaluation.question_results import Selected, question_results, restrict, selections
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.evaluation.sets import ALL, QuestionSet


@dataclass(frozen=True, slots=True)
class ComparedTeam:
    """One side of a comparison: its name, the judged candidates of each of its training seeds, and what those vary."""

    name: str
    seeds: Sequence[Sequence[JudgedCandidate]]
    seeds_vary: SeedsVary = SeedsVary.ORPO


@dataclass(frozen=True, slots=True)
class ComparedControl:
    """A kind of control, and the control of each treatment that has one, by the treatment's name."""

    name: str
    sides: Mapping[str, ComparedTeam] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Every treatment against one baseline, and against its own controls, on every question set.

    The treatments of one question set are a family: their decisions are corrected together (Holm); so are the gaps over
    each kind of control. What holds over baseline and all controls at once is :meth:`survivals`. The second set is a
    part of the first and reads the same gaps again, so it is no further member of that family.
    """

    comparisons: tuple[Comparison, ...]

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    def __post_init__(self) -> None:
        counted = Counter((one.question_set, one.treatment, one.control) for one in self.comparisons)
        twice = [key for key, count in counted.items() if count > 1]
        if twice:
            raise StageInputError(
                "a treatment must be compared once per question set and kind of control, but "
                f"{twice[0]} is there twice; rename one"
            )

    def of(self, question_set: str, treatment: str, control: str = "") -> Comparison:
        """Return one comparison, with the baseline unless a kind of control is named.

        Raises :class:`StageInputError`, naming those there are, when it was not made.
        """
        family = self.on(question_set, control)
        for comparison in family:
            if comparison.treatment == treatment:
                return comparison
        every = (one for one in self.comparisons if one.control == control)
        known = ", ".join(f"{one.treatment} on {one.question_set}" for one in every) or "nothing"
        raise StageInputError(
            f"a gap must have been compared, but {treatment} on {question_set} was not ({known} was); run compare"
        )

    def on(self, question_set: str, control: str = "") -> tuple[Comparison, ...]:
        """Return a question set's comparisons with the baseline or a kind of control, in the treatments' order."""
        return tuple(one for one in self.comparisons if (one.question_set, one.control) == (question_set, control))

    def survivals(self, question_set: str) -> tuple[Survival, ...]:
        """Return what of each treatment's gap its controls leave, in order; nothing where nothing has a control."""
        own = [one for one in self.comparisons if one.question_set == question_set]
        return survivals(own)

    @property
    def controls(self) -> tuple[str, ...]:
        """The kinds of control, in order."""
        return tuple(dict.fromkeys(one.control for one in self.comparisons if one.control))

    @property
    def question_sets(self) -> tuple[str, ...]:
        """The question sets' names, in order."""
        return tuple(dict.fromkeys(comparison.question_set for comparison in self.comparisons))

    def as_mlflow(self) -> dict[str, float]:
        """Return all numbers under flat names: `rest/` for questions outside validation, then several treatments."""
        return dict(item for name in self.question_sets for item in self._named(name))

    def _named(self, question_set: str) -> Iterator[tuple[str, float]]:
        family = self.on(question_set)
        part = "" if question_set == ALL else "rest/"
        for comparison in family:
            prefix = part + (f"{comparison.treatment}/" if len(family) > 1 else "")
            yield from ((f"{prefix}{name}", value) for name, value in comparison.as_mlflow().items())
        for comparison in (one for control in self.controls for one in self.on(question_set, control)):
            prefix = f"{part}{comparison.treatment}/over {comparison.control}/"
            yield from ((f"{prefix}{name}", value) for name, value in comparison.as_mlflow().items())
        for survival in self.survivals(question_set):
            prefix = f"{part}{survival.treatment}/"
            yield f"{prefix}least_gap", survival.least_gap
            yield f"{prefix}survives", float(survival.survives)


_FILE = TypeAdapter(Comparisons)


def compare_question_sets(
    sets: Sequence[QuestionSet],
    baseline: ComparedTeam,
    treatments: Sequence[ComparedTeam],
    controls: Sequence[ComparedControl] = (),
    *,
    margin: float = DEFAULT_MARGIN,
) -> Comparisons:
    """Compare every treatment with the baseline, and with its controls, at selector EX, on every set.

    Raises :class:`StageInputError` when a side is empty, breaks the records' rules, or was not evaluated on the same
    questions as the others.
    """
    common = ComparedControl("", {treatment.name: baseline for treatment in treatments})
    return Comparisons(
        tuple(
            comparison
            for chosen in sets
            for control in (common, *controls)
            for comparison in _family(chosen, treatments, control, margin)
        )
    )


def write_comparisons(path: Path, comparisons: Comparisons) -> None:
    """Write comparisons as JSON, every number in full; what is unknown is the string ``NaN``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_FILE.dump_json(comparisons, indent=2) + b"\n")


def read_comparisons(path: Path) -> Comparisons:
    """Read what :func:`write_comparisons` wrote. Raises :class:`StageInputError` for a missing or malformed file."""
    try:
        return _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise StageInputError(f"comparisons must be readable, but {path}: {error.strerror}; run compare") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        problem = f"{place}: {first['msg']}"
        raise StageInputError(f"comparisons must be well-formed, but {path}, {problem}; run compare again") from None


def _family(
    chosen: QuestionSet, treatments: Sequence[ComparedTeam], control: ComparedControl, margin: float
) -> tuple[Comparison, ...]:
    """Return the gaps of the treatments that have this control, corrected together."""
    gaps = [
        compare_teams(
            _selected(control.sides[treatment.name], chosen),
            _selected(treatment, chosen),
            names=(control.sides[treatment.name].name, treatment.name),
            question_set=chosen.name,
            seeds_vary=SeedsVary.narrowest([control.sides[treatment.name].seeds_vary, treatment.seeds_vary]),
            margin=margin,
        )
        for treatment in treatments
        if treatment.name in control.sides
    ]
    return tuple(replace(gap, control=control.name) for gap in corrected(gaps))


def _selected(team: ComparedTeam, chosen: QuestionSet) -> list[dict[int, Selected]]:
    return [selections(question_results(restrict(candidates, chosen.question_ids))) for candidates in team.seeds]
