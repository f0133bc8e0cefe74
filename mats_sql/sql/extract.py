"""Take the SQL out of a model's text without editing it."""

from __future__ import annotations

import re

_FENCE = re.compile(r"```[ \t]*(?:sql|sqlite)?[ \t]*\n(.*?)```", re.IGNORECASE | re.DOTALL)


def extract_sql(text: str) -> str | None:
    """Return the SQL in a model's text, or ``None``; a verbatim part of ``text``."""
    found = _FENCE.findall(text)
    sql = (found[-1] if found else text).strip()
    return sql or None
