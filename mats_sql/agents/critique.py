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


_CONCLUSION = re.compile(r"conclude\s*:\s*\W{0,3}(correct|incorrect)\b", re.IGNORECASE)


def parse_critique(validator: Validator, text: str) -> Critique:
    """Read a critique; the last conclusion in the text counts, none is :attr:`Verdict.MISSING`."""
    found = _CONCLUSION.findall(text)
    verdict = Verdict(found[-1].lower()) if found else Verdict.MISSING
    return Critique(validator, text, verdict)


def critique_answer(validator: Validator, found: str, wanted: str, *, correct: bool) -> str:
    """Return a critique in the format that validators are trained to write."""
    if validator is Validator.SELECT:
        body = f"SELECT.\nThe query selects: {found}\nThe question asks for: {wanted}"
    else:
        body = f"CONDITION.\nThe query keeps: {found}\nThe question asks for: {wanted}"
    return f"{body}\nConclude: {'correct' if correct else 'incorrect'}."
