"""A validator's critique and the verdict it concludes with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Validator(StrEnum):
    """The validators of a team, in the order the fixer reads them."""

    SELECT = "select"
    CONDITION = "condition"


class Verdict(StrEnum):
    """What a critique concludes. ``MISSING`` never counts as either of the others."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Critique:
    """One validator's text about one SQL, and its verdict."""

    validator: Validator
    text: str
    verdict: Verdict


# Only words that leave the verdict as it is may stand between "conclude" and it: "Conclude: partly correct" is none.
_FILLER = (
    r"(?:that|the|this|it|its|is|are|s|generated|given|final|whole|sql|sqlite|query|statement|select|conditions?|clause|"
    r"part|therefore|thus|so|overall|answer|verdict|feedback|as|to|be)"
)
_CONCLUSION = re.compile(
    rf"(?<![a-z])conclu(?:des?|ded|ding|sions?)(?![a-z])(?:[\W_]+{_FILLER}(?![a-z])){{0,10}}[\W_]*"
    r"(?P<negated>(?:not|isn\W?t|aren\W?t)[\W_]+)?(?P<wrong>in\W?)?correct(?![a-z])"
    r"(?P<hedge>[\W_]*(?:or|and)[\W_]+(?:not|in\W?correct|correct)(?![a-z])|\W*[/|]\W*(?:in)?correct)?",
    re.IGNORECASE,
)


def parse_critique(validator: Validator, text: str) -> Critique:
    """Read a critique; the last conclusion in the text counts, none is :attr:`Verdict.MISSING`.

    Tolerates letter case, markdown, a missing period, ``Conclusion``, "the query is", and "not correct". A hedge
    ("correct or incorrect", as an echoed instruction reads) is no conclusion.
    """
    verdict = Verdict.MISSING
    for found in _CONCLUSION.finditer(text):
        if not found["hedge"]:
            negative = (found["negated"] is not None) != (found["wrong"] is not None)
            verdict = Verdict.INCORRECT if negative else Verdict.CORRECT
    return Critique(validator, text, verdict)


def critique_answer(validator: Validator, found: str, wanted: str, *, correct: bool) -> str:
    """Return a critique in the format that validators are trained to write."""
    verb = "selects" if validator is Validator.SELECT else "keeps"
    return (
        f"{validator.value.upper()}.\nThe query {verb}: {found}\nThe question asks for: {wanted}\n"
        f"Conclude: {'correct' if correct else 'incorrect'}."
    )
