"""The sets of questions that every team is scored and compared on (DESIGN.md, section 5)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

ALL = "all usable dev questions"
REST = "outside the validation split"


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A named set of questions."""

    name: str
    question_ids: frozenset[int]


def question_sets(question_ids: Collection[int], validation_ids: Collection[int]) -> tuple[QuestionSet, ...]:
    """Return all of the questions, and those outside the validation split.

    The search chose settings on the validation split, so only the second set is untouched by it. There is one set when
    no question, or every question, is a validation question.
    """
    everything = frozenset(question_ids)
    rest = everything - frozenset(validation_ids)
    sets = [QuestionSet(ALL, everything)]
    if rest and rest != everything:
        sets.append(QuestionSet(REST, rest))
    return tuple(sets)
