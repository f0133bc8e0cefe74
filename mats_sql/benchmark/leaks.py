"""Fails a run whose training questions touch its evaluation questions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from mats_sql.benchmark.question import Question
from mats_sql.errors import LeakError

_SEPARATOR = re.compile(r"[\W_]+")


def check_no_leak(train: Sequence[Question], evaluation: Sequence[Question]) -> None:
    """Raise :class:`LeakError` with the first training question whose database or text the evaluation has too.

    Texts are compared after :func:`normalized_text`: case, punctuation and spacing do not hide a copy.
    """
    databases = {question.db_id.casefold(): question for question in evaluation}
    for question in train:
        if other := databases.get(question.db_id.casefold()):
            raise LeakError(
                f"training and evaluation must not share a database, but question {question.question_id} (train) and "
                f"{other.question_id} (evaluation) both ask about {question.db_id!r}; remove it from the training set"
            )
    texts = {normalized_text(question.text): question for question in evaluation}
    for question in train:
        if other := texts.get(normalized_text(question.text)):
            raise LeakError(
                f"training and evaluation must not share a question, but {question.question_id} (train) and "
                f"{other.question_id} (evaluation) both read {question.text!r:.120}; remove it from the training set"
            )


def drop_shared_texts(
    train: Sequence[Question], evaluation: Sequence[Question]
) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Return the training questions whose text the evaluation does not have, and those it has.

    For published sets that overlap by themselves: Spider's train and dev files share six texts such as "How many
    employees are there?" about different databases. The caller reports what was dropped. It never drops a shared
    database: that is always a mistake, which :func:`check_no_leak` reports.
    """
    texts = {normalized_text(question.text) for question in evaluation}
    shared = {question for question in train if normalized_text(question.text) in texts}
    return tuple(q for q in train if q not in shared), tuple(q for q in train if q in shared)


def normalized_text(text: str) -> str:
    """Return a text's words, case folded and compatibility-normalised, without punctuation."""
    return _SEPARATOR.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
