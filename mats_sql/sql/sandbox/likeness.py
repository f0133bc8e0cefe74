"""How like two texts are: Dice's coefficient of their letter pairs, case aside. Standard library only."""

from __future__ import annotations

from itertools import pairwise

Pairs = set[tuple[str, str]]


def letter_pairs(text: str) -> Pairs:
    """Return a text's pairs of neighbouring characters, its beginning counted as one."""
    folded = " " + text.casefold()
    return set(pairwise(folded))


def dice(left: Pairs, right: Pairs) -> float:
    """Return twice what two sets share over what they hold, 0 to 1; at least one must not be empty."""
    return 2 * len(left & right) / (len(left) + len(right))
