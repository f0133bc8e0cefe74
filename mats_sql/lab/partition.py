"""Which question texts may be pretrained on and which are kept for benchmarks: a property of the text alone.

Every text belongs to one part for good, whatever the seed, the database or the split, so that no lab benchmark that was
ever or will ever be generated has a question in it that the packaged base model was pretrained on. The same *gold SQL*
may occur in both parts, under another wording.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum

from mats_sql.benchmark import Question, normalized_text
from mats_sql.errors import LeakError

_RESERVED_ONE_IN = 4
"""One text in four: enough for every benchmark to fill, and pretraining keeps most wordings of every family."""


class Part(StrEnum):
    """Who may ask a text."""

    BENCHMARK = "benchmark"
    PRETRAINING = "pretraining"


def part_of(text: str) -> Part:
    """Return the part of a question text; texts that a leak check holds for equal are in the same part."""
    digest = hashlib.sha256(normalized_text(text).encode()).digest()
    return Part.PRETRAINING if int.from_bytes(digest[:8], "big") % _RESERVED_ONE_IN else Part.BENCHMARK


def check_reserved(questions: Iterable[Question]) -> None:
    """Raise :class:`LeakError` with the first question whose text the lab's base model may have been pretrained on.

    For the questions of a lab benchmark; texts of other benchmarks are in either part by chance.
    """
    for question in questions:
        if part_of(question.text) is not Part.BENCHMARK:
            raise LeakError(
                f"a lab benchmark must ask only texts kept from pretraining, but question {question.question_id} of "
                f"{question.db_id!r} reads {question.text!r:.120}; generate the benchmark again"
            )
