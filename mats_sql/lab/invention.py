"""Words that no list has, for pretraining: a model that meets new ones every time learns to copy them."""

from __future__ import annotations

import random
import re

from mats_sql.lab import words

_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        "alter check collate commit create default delete drop escape except foreign index insert intersect "
        "into isnull notnull nothing primary raise returning then unique update using ",
    )
)
"""SQLite's reserved words that could be invented: no table is called so without quotes."""
_SHORTEST, _LONGEST = 4, 9
_KNOWN = tuple(word for word in words.pretraining_words() if word.isalpha() and word.islower() and len(word) > 3)
_TAKEN = frozenset(word.lower() for word in (*words.pretraining_words(), *words.reserved_words()))


def invent(rng: random.Random) -> str:
    """Return an invented lower-case word whose regular plural can be told from it.

    Half of the words are the beginning of one known word and the end of another, so that their pieces are a
    language's; the others are syllables at random.
    """
    while True:
        word = _spliced(rng) if rng.random() < 0.5 else _syllables(rng)
        if _is_new(word):
            return word


def invent_table(rng: random.Random) -> str:
    """Return an invented word that may name a table."""
    while True:
        word = invent(rng)
        if word not in _NO_NAMES:
            return word


def invent_kin(rng: random.Random) -> tuple[str, str]:
    """Return two invented words that may name tables and have inner letters in common, as ``park`` and ``gardener``.

    Where the tokens of such words meet, a model that copies one may go on with the other.
    """
    while True:
        known = rng.choice(_KNOWN)
        start = rng.randrange(1, len(known) - 1)
        shared = known[start : start + rng.randint(2, 3)]
        first, other = (_around(rng, shared) for _ in range(2))
        if first != other and all(_is_new(word) and word not in _NO_NAMES for word in (first, other)):
            return first, other


def invent_like(rng: random.Random, word: str) -> str:
    """Return an invented word with a capital letter where the word has one."""
    return invent(rng).capitalize() if word[0].isupper() else invent(rng)


def mistake(rng: random.Random, word: str) -> str:
    """Return what may be written for a word that was not copied well: a known word, an invented one, or a part of it.

    It keeps the capital letter, and never is the word itself.
    """
    made = rng.choice((rng.choice(_KNOWN), invent(rng), word[: rng.randint(1, len(word))].lower() + rng.choice(_KNOWN)))
    made = made[:_LONGEST]
    if made == word.lower():
        return mistake(rng, word)
    return made.capitalize() if word[0].isupper() else made


def cross(rng: random.Random, first: str, other: str) -> str:
    """Return the beginning of one word and the end of another: what is written when they get mixed up on the way."""
    return first[: rng.randint(1, len(first))] + other[rng.randint(1, len(other) - 1) :]


def _is_new(word: str) -> bool:
    return _SHORTEST <= len(word) <= _LONGEST and word[-1] not in "si" and word not in _TAKEN


def _around(rng: random.Random, shared: str) -> str:
    first, second = rng.choice(_KNOWN), rng.choice(_KNOWN)
    return first[: rng.randint(1, 3)] + shared + second[len(second) - rng.randint(1, 4) :]


def _spliced(rng: random.Random) -> str:
    first, second = rng.choice(_KNOWN), rng.choice(_KNOWN)
    return first[: rng.randint(1, len(first))] + second[rng.randrange(len(second)) :]


def _syllables(rng: random.Random) -> str:
    letters = (rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))
    return "".join(letters)[rng.randrange(2) :] + rng.choice(("", "n", "r", "l", "t", "d"))
