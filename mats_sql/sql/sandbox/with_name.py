"""Write a SQL anew with another name in the place of one that the database lacks.

What it then answers shows what lies behind the first error: the next error, no rows, a text that no row has. It reads
the SQL and the error, never a gold. Standard library only, for the worker's sake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from mats_sql.sql.sandbox.literals import Token, named_tables, tokens_of
from mats_sql.sql.sandbox.nearest_names import Missing, Name, plain

_EQUALS = frozenset(("=", "=="))


class Edit(NamedTuple):
    """Another text for the characters of a SQL from ``start`` to before ``end``."""

    start: int
    end: int
    text: str


def with_name(sql: str, missing: Missing, name: Name) -> str | None:
    """Return ``sql`` with ``name`` wherever the ``missing`` one stands.

    A join by the other table's column turns round with it: ``a.b_id = b.id`` becomes ``b.a_id = a.id``. ``None`` where
    the name cannot mend the SQL: no table of it has the column, or the missing name stands nowhere, or still.
    """
    if missing.table:
        return _rewritten(sql, _table_edits(tokens_of(sql), missing.name.lower(), plain(name.table)))
    tables = named_tables(sql)
    aliases = [alias for alias, table in tables.items() if table == name.table.lower()]
    qualifier = missing.qualifier.lower()
    if not aliases or (not qualifier and missing.name.lower() in tables):
        return None
    alias = qualifier if qualifier in aliases else aliases[0]
    again = _rewritten(sql, _Columns(tokens_of(sql), missing, alias, name.column).edits())
    return None if again is None or any(_Columns(tokens_of(again), missing, "", "").places()) else again


@dataclass(frozen=True)
class _Columns:
    """A missing column among the tokens of a SQL, and what stands for it: its table's lower-case alias, its name."""

    tokens: list[Token]
    missing: Missing
    alias: str
    column: str

    def edits(self) -> Iterator[Edit]:
        spelled = next(token.value for token in self.tokens if token.names and token.value.lower() == self.alias)
        text = f"{plain(spelled)}.{plain(self.column)}"
        for first, last in self.places():
            yield Edit(self.tokens[first].start, self.tokens[last].end, text)
            yield from self._turned(first, last)

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last token wherever the column stands as the error spells it."""
        qualified = bool(self.missing.qualifier)
        for at, token in enumerate(self.tokens):
            first = at - 2 if qualified else at
            if not token.names or first < 1 or token.value.lower() != self.missing.name.lower():
                continue
            before, behind = self.tokens[first - 1].key, self.tokens[at + 1].key
            if before not in (".", "as") and behind not in (".", "(") and (not qualified or self._qualified(first)):
                yield first, at

    def _qualified(self, first: int) -> bool:
        qualifier, dot = self.tokens[first : first + 2]
        return qualifier.names and dot.key == "." and qualifier.value.lower() == self.missing.qualifier.lower()

    def _turned(self, first: int, last: int) -> Iterator[Edit]:
        """Yield the other side of an equality that is a column of the table whose column now stands on this side."""
        if self.missing.qualifier.lower() in ("", self.alias):
            return
        for equals, other in ((last + 1, last + 2), (first - 1, first - 4)):
            side = self.tokens[other : other + 3] if other > 0 and self.tokens[equals].key in _EQUALS else []
            if len(side) == 3 and side[0].value.lower() == self.alias and side[1].key == "." and side[2].names:
                yield Edit(side[0].start, side[0].end, plain(self.missing.qualifier))


def _table_edits(tokens: list[Token], missing: str, text: str) -> Iterator[Edit]:
    for at, token in enumerate(tokens):
        if token.names and token.value.lower() == missing and tokens[at - 1].key != ".":
            yield Edit(token.start, token.end, text)


def _rewritten(sql: str, edits: Iterator[Edit]) -> str | None:
    pieces, done = [], 0
    for start, end, text in sorted(edits):
        pieces += [sql[done:start], text]
        done = end
    return "".join([*pieces, sql[done:]]) if pieces else None
