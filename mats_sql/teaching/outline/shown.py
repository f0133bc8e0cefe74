"""Keys of what ``text`` renders: the select lists, or the sources and conditions, of a critique read back as SQL.

Text that a model wrote need not be SQL at all. What cannot be read is its own key, letter case and space aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from mats_sql.teaching.outline.dialect import parse_query, tokens_of
from mats_sql.teaching.outline.keys import condition_key, select_key
from mats_sql.teaching.outline.parts import QueryParts, query_parts

_SET_OPERATORS = (TokenType.UNION, TokenType.EXCEPT, TokenType.INTERSECT)
_CLAUSES = (
    TokenType.FROM,
    TokenType.WHERE,
    TokenType.GROUP_BY,
    TokenType.HAVING,
    TokenType.ORDER_BY,
    TokenType.LIMIT,
    TokenType.OFFSET,
)
_JOINING = {"LEFT": "LEFT JOIN", "RIGHT": "RIGHT JOIN", "FULL": "FULL JOIN", "NATURAL": "NATURAL JOIN"}
_CROSSED = "ASOF JOIN"
"""Stands for ``CROSS``: a method of joining that SQLite does not have, so that the key tells it from a join along the
foreign key, which goes without saying."""


@lru_cache(maxsize=16384)
def shown_select_key(text: str) -> str:
    """Return the key of select lists as :func:`~mats_sql.teaching.outline.text.selects_text` shows them."""
    query = _query(text, "SELECT")
    return _plain(text) if query is None else f"sql {select_key(query)}"


@lru_cache(maxsize=16384)
def shown_condition_key(text: str) -> str:
    """Return the key of sources and conditions as :func:`~mats_sql.teaching.outline.text.keeps_text` shows them."""
    query = _query(text, "SELECT 1")
    return _plain(text) if query is None else f"sql {condition_key(query)}"


def _query(text: str, head: str) -> QueryParts | None:
    tree = parse_query(" ".join(_rebuilt(text, tokens_of(text), head)))
    if tree is None:
        return None
    try:
        for name in tree.find_all(exp.Identifier):
            name.set("quoted", False)
        query = query_parts(tree)
    except RecursionError:
        return None
    return query if query.selects and all(select.projections for select in query.selects) else None


def _rebuilt(text: str, tokens: Sequence[Token], head: str) -> Iterator[str]:
    """Yield the pieces of a query: every branch gets its ``SELECT``, every source after the first its ``JOIN``."""
    depth, headless, sources = 0, True, False
    named = bool(tokens) and tokens[0].token_type is TokenType.WITH
    for index, token in enumerate(tokens):
        kind, piece = token.token_type, text[token.start : token.end + 1]
        depth -= kind is TokenType.R_PAREN
        if depth == 0:
            named = named and kind not in _CLAUSES
            if headless and not named and kind is not TokenType.ALL:
                yield head
                headless = False
            if kind in _CLAUSES or kind in _SET_OPERATORS:
                sources = kind is TokenType.FROM
                headless = headless or kind in _SET_OPERATORS
            elif sources and kind is TokenType.COMMA:
                piece = _joining(tokens[index + 1 : index + 2])
            elif sources and tokens[index - 1].token_type is TokenType.COMMA and piece.upper() in (*_JOINING, "CROSS"):
                piece = ""
        depth += kind is TokenType.L_PAREN
        yield piece


def _joining(following: Sequence[Token]) -> str:
    """Return what stands for the comma before a source that may begin with how it is joined."""
    word = following[0].text.upper() if following else ""
    return _CROSSED if word == "CROSS" else _JOINING.get(word, "JOIN")


def _plain(text: str) -> str:
    tokens = tokens_of(text)
    words = (f"'{token.text}'" if token.token_type is TokenType.STRING else token.text.lower() for token in tokens)
    return "text " + (" ".join(words) if tokens else " ".join(text.lower().split()))
