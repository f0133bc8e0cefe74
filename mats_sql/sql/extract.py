"""Take the SQL out of a model's text without editing it.

The answer is always a verbatim part of the text: no whitespace is folded, no comment dropped, no quote mended. Where to
look, first hit wins:

1. behind the last marker (``Final SQL query:``, ``FIXED SQL:``, ``SQL:`` ...) that SQL or a fenced SQL follows;
2. the last fence that holds SQL, whatever its tag (one that was cut off counts; so does text that begins inside one);
3. the last ``<sql>`` or ``<answer>`` element that holds SQL;
4. the first place in the prose where a line, a colon, an "is" or a backtick is followed by SQL.

From there one statement is taken: up to and including the first semicolon outside quotes and comments, else up to where
prose begins. Of several statements the first is the answer, as in BIRD's evaluator only one may be run. Text that
merely talks about SQL ("Select the name of ...") is not SQL. SQL inside JSON strings is not unescaped, hence not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_COMMENTS = r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*"
_VERB = (
    r"(?:select(?=[\s(*'\"`\[\d+:-])"
    r"|with\s+(?:recursive\s+)?[\w`\"\[\]]+\s*(?:\([^)]*\)\s*)?as\s*(?:not\s+)?(?:materialized\s*)?\(\s*(?:select|with|values|--|/\*|\()"
    r"|values\s*\(|explain\s+(?:query\s+plan\s+)?(?:select|with)\b|pragma\s+\w+|insert\s+(?:or\s+\w+\s+)?into\b"
    r"|replace\s+into\b|update\s+\S+\s+set\b|delete\s+from\b|drop\s+(?:table|view|index|trigger)\b"
    r"|create\s+(?:temp|temporary|table|view|index|unique|trigger|virtual)\b|alter\s+table\b"
    r"|attach\s+(?:database\s+)?['\"]|detach\s+\w+\s*;|vacuum\s*(?:;|$|into\b)|reindex\s*;|analyze\s*;)"
)
_LEADING = re.compile(_COMMENTS, re.DOTALL)
_MOST_PLACES = 100
"""So many markers and fences are looked at, from the last one back: text that repeats itself must not take for ever."""
_SQL = re.compile(_COMMENTS + _VERB, re.IGNORECASE | re.DOTALL)
_TALK = re.compile(
    r"select\s+(?:the|an?|all\s+the|only|which|what|how|each|every|both|some|from\s+the|is|are|and|or|columns?|clause"
    r"|statement|query|part|list|appropriate|relevant|correct|it|this|that|these|those)\s+(?!from\b|as\b)[a-z]",
    re.IGNORECASE,
)
_MARKER = re.compile(
    r"(?:\b(?:final|fixed|corrected|revised|updated|generated)\s+)?\b(?:sql(?:ite)?(?:\s+(?:query|statement|answer))?"
    r"|(?:final\s+)?(?:answer|query))\s*(?:is\s*)?[*_]*\s*:[*_]*",
    re.IGNORECASE,
)
_FENCE = re.compile(r"(```|~~~)(?:[ \t]*(?!select\b|with\b|values\b)[\w+.-]*[ \t]*\n|[ \t]*\w*sql(?:ite)?3?\b)?", re.I)
_ELEMENT = re.compile(r"<(sql|answer|query|final)\b[^>]*>(.*?)(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_PLACE = re.compile(r"(?:^[ \t>*-]*|[:\uff1a]\s*[*_]*[ \t]*|\bis\s+|`)(?=" + _VERB + ")", re.IGNORECASE | re.MULTILINE)
_TOKEN = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|```|~~~|`[^`]*`|\[[^\]\n]*\]|--[^\n]*|/\*.*?\*/|</|;|\n|[^'\"`~\[;\n/<-]+|.",
    re.DOTALL,
)
_GOES_ON = re.compile(
    r"\s*(?:(?:from|where|group|order|having|limit|offset|(?:inner|left|right|full|cross|natural|outer)?\s*join|inner|left"
    r"|right|full|cross|natural|on|using|and|or|not|union|intersect|except|select|case|when|then|else|end|as|window|values"
    r"|with|in|exists|between|like|is|asc|desc|null|distinct|cast|over|partition)\b|[(),*+<>=|/.'\"`\[\d-]|[\w.`\"]+\s*(?:[,=<>(]|\n|\Z))",
    re.IGNORECASE,
)
_OPEN_END = re.compile(
    r"(?:[,(=<>+*/|-]|\b(?:select|distinct|from|where|and|or|not|on|join|by|having|limit|union|all|intersect|except|case|when"
    r"|then|else|as|in|between|like|is|with|using|values|over|offset))\s*$",
    re.IGNORECASE,
)
_PROSE = re.compile(
    r"\s*(?:this|the|explanation|note|here|in|it|i|we|let|conclude|question|feedback|where\s+is|\*\*|#+|so|however|if|to"
    r"|output|result|answer|reasoning|these|that|external|human|user|assistant)\b[^=<>]*[a-z:.]|\s*(?:\*\*|#{1,6}\s|<)",
    re.IGNORECASE,
)


def extract_sql(text: str) -> str | None:
    """Return the SQL in a model's text as a verbatim part of it, or ``None`` when nothing in it looks like SQL."""
    for start, end in _regions(text):
        if _holds_sql(text, start, end):
            return text[_skip_space(text, start) : _end_of_statement(text, start, end)].strip()
    return None


def _regions(text: str) -> Iterator[tuple[int, int]]:
    """Yield where SQL may begin and must end, the likeliest first."""
    fences = list(_fences(text))[-_MOST_PLACES:]
    bare_end = _end_of_statement(text, 0, len(text)) if _holds_sql(text, 0, len(text)) else 0
    for marker in reversed(list(_MARKER.finditer(text))[-_MOST_PLACES:]):
        inside = any(start <= marker.start() < end for start, end in fences)
        if inside or (marker.start() < bare_end and _line_before(text, marker.start()).strip(" \t*#")):
            continue
        behind = next((fence for fence in fences if fence[0] > marker.end()), None)
        if behind is not None and not text[marker.end() : behind[0]].split("\n", 1)[0].strip(" \t*_`~sqliteSQLITE3"):
            yield behind
        yield marker.end(), len(text)
    yield from reversed(fences)
    yield from ((element.start(2), element.end(2)) for element in reversed(list(_ELEMENT.finditer(text))))
    yield 0, len(text)
    yield from ((place.end(), len(text)) for place in _PLACE.finditer(text))


def _line_before(text: str, position: int) -> str:
    return text[text.rfind("\n", 0, position) + 1 : position]


def _fences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the contents of fences; an odd number of fence marks means that the text began inside one, or was cut."""
    marks = list(_FENCE.finditer(text))
    if len(marks) % 2 and _holds_sql(text, 0, marks[0].start()):
        yield 0, marks[0].start()
        marks = marks[1:]
    opening = None
    for mark in marks:
        if opening is None:
            opening = mark
        elif mark[1] == opening[1]:
            yield opening.end(), mark.start()
            opening = None
    if opening is not None:
        yield opening.end(), len(text)


def _holds_sql(text: str, start: int, end: int) -> bool:
    found = _SQL.match(text, start, end)
    if found is None:
        return False
    comments = _LEADING.match(text, start, found.end())
    return _TALK.match(text, comments.end() if comments is not None else start, end) is None


def _skip_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _end_of_statement(text: str, start: int, end: int) -> int:
    """Return where the statement that begins at ``start`` ends: a semicolon, a fence, prose, or the region's end."""
    ticked = text[max(0, start - 1) : start] == "`"
    for token in _TOKEN.finditer(text, start, end):
        part = token[0]
        if part == ";":
            return token.end()
        if part in ("```", "~~~", "</"):
            return token.start()
        if part == "`" and ticked:
            return token.start()
        if part == "\n" and _prose_follows(text, start, token.end(), end):
            return token.start()
    return end


def _prose_follows(text: str, start: int, position: int, end: int) -> bool:
    """Whether the statement ended with the line before ``position``."""
    before, rest = text[start : position - 1], text[position:end]
    line = rest.lstrip("\n\r\t ")
    if not line:
        return True
    if _OPEN_END.search(before.rsplit("--", 1)[0] if "--" in before.rsplit("\n", 1)[-1] else before):
        return False
    head = line.split("\n", 1)[0]
    if rest[: len(rest) - len(line)].count("\n"):
        return _GOES_ON.match(line) is None or _PROSE.match(head) is not None
    return _PROSE.match(head) is not None and _GOES_ON.match(head + " ") is None
