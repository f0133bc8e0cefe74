"""One spelling for SQL texts that SQLite cannot tell apart, so that each is executed once.

Only what SQLite's tokenizer ignores is folded: ASCII case and the amount of white space outside quotes, and one final
semicolon. Texts with comments, non-ASCII characters or ``EXPLAIN`` (whose rows show the text) keep their own spelling.
Column names may differ between texts of one spelling; rows cannot.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])""")
_SPACE = re.compile(r"[ \t\n\f\r]+")
_LONGEST = 20_000


def spelling_of(sql: str) -> str:
    """Return the common spelling of ``sql``; equal spellings have equal rows on every database."""
    if len(sql) > _LONGEST or not sql.isascii() or "--" in sql or "/*" in sql:
        return sql
    parts = _QUOTED.split(sql)
    parts[::2] = [_SPACE.sub(" ", part).lower() for part in parts[::2]]
    text = "".join(parts).strip(" ")
    if text.startswith(("explain", "pragma")) or any(mark in part for part in parts[::2] for mark in "'\"`["):
        return sql
    return text[:-1].rstrip(" ") if text.endswith(";") else text
