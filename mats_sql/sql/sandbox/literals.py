"""Read from a SQL which columns it compares with which text literals, without knowing a schema.

Covered are ``column = 'literal'`` and ``column IN ('a', 'b')``, and their opposites; every other comparison is passed
over. The tables a column may come from are those after ``FROM`` and ``JOIN`` of its own SELECT, then of the SELECTs
around it. Tables that a subquery or a ``WITH`` makes are not followed. Time grows with the SQL's length alone. Standard
library only, for the worker's sake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    \s+ | --[^\n]* | /\*.*?(?:\*/|\Z)
    | (?P<text>'(?:[^']|'')*(?:'|\Z))
    | (?P<name>"(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) | \[[^\]]*(?:\]|\Z))
    | (?P<word>[^\W\d][\w$]*)
    | (?P<mark>[=<>!|]+ | \d[\w.]* | .)
    """,
    re.VERBOSE | re.DOTALL,
)
_RESERVED = """
as and or not in is like glob between from join on using where group order having limit offset window union intersect
except select distinct values with left right full inner outer cross natural indexed case when then else end collate
exists escape
"""
_KEYWORDS = frozenset(_RESERVED.split())
_SELECT = frozenset(("select", "with", "values"))
_COMPOUND = frozenset(("union", "intersect", "except"))
_EQUALS = frozenset(("=", "==", "!=", "<>", "in"))
_TURNS = frozenset(("(", ")", "from", "join")) | _COMPOUND | _EQUALS
_BOUNDS = frozenset(("(", ")", ",", ";"))


class Token(NamedTuple):
    """A token of a SQL: ``kind`` is text, name (quoted), word, mark or end; ``value`` is without its quotes.

    ``key`` is a word in lower case, or a mark; empty for all others. ``start`` and ``end`` are offsets in the SQL.
    """

    kind: str
    value: str
    key: str
    start: int = 0
    end: int = 0

    @property
    def names(self) -> bool:
        """Whether this may be the name of a table or a column."""
        return self.kind == "name" or (self.kind == "word" and self.key not in _KEYWORDS)

    @property
    def bounds(self) -> bool:
        """Whether a comparison may begin behind this, or end before it."""
        return self.key in _BOUNDS or (self.kind in ("end", "word") and self.key != "collate")


@dataclass(slots=True)
class Scope:
    """The tables that one SELECT reads, as (the lower-case name they go by, table), and the SELECT around it."""

    around: Scope | None = None
    sources: list[tuple[str, str]] = field(default_factory=list)

    def tables(self, qualifier: str) -> Iterator[str]:
        """Yield the tables that a column may come from, nearest first; an empty qualifier is none."""
        wanted = qualifier.lower()
        scope: Scope | None = self
        while scope is not None:
            yield from (table for name, table in scope.sources if wanted in ("", name))
            scope = scope.around


class Comparison(NamedTuple):
    """A column, as it is written, that is compared with text literals."""

    scope: Scope
    qualifier: str
    column: str
    literals: tuple[str, ...]


_END = Token("end", "", "")


def compared_literals(sql: str) -> list[Comparison]:
    """Return the comparisons of columns with text literals, in the order in which they stand."""
    tokens = tokens_of(sql)
    open_scopes = [Scope()]
    found: list[Comparison] = []
    for at, token in enumerate(tokens):
        key, scope = token.key, open_scopes[-1]
        if key not in _TURNS:
            continue
        if key == "(":
            open_scopes.append(Scope(scope) if tokens[at + 1].key in _SELECT else scope)
        elif key == ")" and len(open_scopes) > 1:
            open_scopes.pop()
        elif key in _COMPOUND:
            open_scopes[-1] = Scope(scope.around)
        elif key in ("from", "join"):
            scope.sources += _sources(tokens, at + 1)
        elif key in _EQUALS and (literals := _literals(tokens, at)):
            found += _comparison(scope, tokens, at, literals)
    return found


def named_tables(sql: str) -> dict[str, str]:
    """Return the tables that a SQL reads anywhere, in lower case, by the names they go by."""
    tokens = tokens_of(sql)
    found = (
        source
        for at, token in enumerate(tokens)
        if token.key in ("from", "join")
        for source in _sources(tokens, at + 1)
    )
    return {name: table.lower() for name, table in found}


def tokens_of(sql: str) -> list[Token]:
    """Return the tokens of a SQL, between an end before the first and two behind the last."""
    return [_END, *_tokens(sql), _END, _END]


def _tokens(sql: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(sql):
        kind, value, place = match.lastgroup, match.group(), match.span()
        if kind == "word":
            yield Token(kind, value, value.lower(), *place)
        elif kind == "mark":
            yield Token(kind, value, value, *place)
        elif kind:
            quote = value[0]
            yield Token(kind, value[1:-1] if quote == "[" else value[1:-1].replace(quote * 2, quote), "", *place)


def _sources(tokens: list[Token], at: int) -> Iterator[tuple[str, str]]:
    """Yield the tables named from ``at`` on, as far as commas join them."""
    while tokens[at].names:
        if tokens[at + 1].key == "." and tokens[at + 2].names:
            at += 2
        table = alias = tokens[at].value
        at += 1 + (tokens[at + 1].key == "as")
        if tokens[at].names:
            alias = tokens[at].value
            at += 1
        yield alias.lower(), table
        if tokens[at].key != ",":
            return
        at += 1


def _literals(tokens: list[Token], at: int) -> tuple[str, ...]:
    """Return the text literals right of the operator at ``at``; none when anything else takes part."""
    listed = tokens[at].key == "in"
    if listed and tokens[at + 1].key != "(":
        return ()
    literals = []
    at += 1 + listed
    while tokens[at].kind == "text":
        literals.append(tokens[at].value)
        at += 1
        if listed and tokens[at].key == "," and tokens[at + 1].kind == "text":
            at += 1
    whole = tokens[at].key == ")" if listed else tokens[at].bounds
    return tuple(literals) if whole else ()


def _comparison(scope: Scope, tokens: list[Token], at: int, literals: tuple[str, ...]) -> Iterator[Comparison]:
    """Yield the comparison whose operator stands at ``at``, if its left side is a column and nothing more."""
    start = at - 2 if tokens[at].key == "in" and tokens[at - 1].key == "not" else at - 1
    column, qualifier = tokens[start], ""
    if tokens[start - 1].key == "." and tokens[start - 2].names:
        qualifier, start = tokens[start - 2].value, start - 2
    if column.names and tokens[start - 1].bounds:
        yield Comparison(scope, qualifier, column.value, literals)
