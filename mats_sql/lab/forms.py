"""How a database stores the words of a question: as they are said, or in a form that the question does not have.

A prompt shows a stored value when it shares a word with the question, case aside. So ``CASE`` is shown, and the other
two are not: ``CLIPPED`` can be guessed now and then, ``NUMBERED`` only looked up.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum


class Form(StrEnum):
    """A form in which a column stores words."""

    PLAIN = "plain"
    CASE = "case"
    CLIPPED = "clipped"
    NUMBERED = "numbered"


FORM_SHARES = {Form.PLAIN: 0.35, Form.CASE: 0.10, Form.CLIPPED: 0.12, Form.NUMBERED: 0.43}
"""Part of the category columns that store their words in each form."""

_CLIP = 3


def draw_form(rng: random.Random) -> Form:
    """Return a random form in the proportions of :data:`FORM_SHARES`."""
    return rng.choices(list(FORM_SHARES), list(FORM_SHARES.values()))[0]


def spell(rng: random.Random, word: str, form: Form) -> str:
    """Return a word in a form; the digit of ``NUMBERED`` is random."""
    if form is Form.CASE:
        return word[0].swapcase() + word[1:]
    if form is Form.CLIPPED:
        return word[:_CLIP].upper()
    return f"{word}{rng.randint(1, 9)}" if form is Form.NUMBERED else word


def spell_all(rng: random.Random, words: Sequence[str], form: Form) -> dict[str, str]:
    """Return word -> stored form; the words themselves where two would be stored alike."""
    spelled = {word: spell(rng, word, form) for word in words}
    return spelled if len(set(spelled.values())) == len(words) else {word: word for word in words}


def guess(rng: random.Random, word: str) -> str:
    """Return what someone who does not know the form may write for a word."""
    return spell(rng, word, rng.choice((Form.PLAIN, Form.PLAIN, Form.CASE, Form.CLIPPED, Form.NUMBERED)))
