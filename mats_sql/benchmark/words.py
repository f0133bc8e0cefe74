"""The words of a text: what questions, values and names of columns are compared by."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[^\W_]+")
_ENGLISH_FILLERS = (
    "a all an and any are as at be been by did do does each every find for from give had has have how in is it its "
    "list many me much of on or please show than that the their them there these they this those to was were what "
    "when where which who whose with"
)
_STOP_WORDS = frozenset(_ENGLISH_FILLERS.split())


def tokenize(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits, case folded, without stop words."""
    return [word for word in _TOKEN.findall(text.casefold()) if word not in _STOP_WORDS]
