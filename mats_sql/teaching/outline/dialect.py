"""The dialect that SQL is parsed and shown in: SQLite's, with names quoted as schema texts quote them."""

from __future__ import annotations

from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokens import Token


# The type checker does not follow sqlglot (pyproject.toml), hence the ignores.
class _TextGenerator(SQLite.Generator):  # type: ignore[misc]
    """SQLite as its users write it: ``NOT`` inside ``IS NOT`` and ``NOT IN``, and ``SUBSTR``."""

    def not_sql(self, node: exp.Not) -> str:
        inner = node.this
        value = self.sql(inner, "this")
        if isinstance(inner, exp.Is):
            return f"{value} IS NOT {self.sql(inner, 'expression')}"
        if isinstance(inner, exp.Like) and not isinstance(inner.parent, exp.Escape):
            return f"{value} NOT LIKE {self.sql(inner, 'expression')}"
        if isinstance(inner, exp.Between):
            return f"{value} NOT BETWEEN {self.sql(inner, 'low')} AND {self.sql(inner, 'high')}"
        if isinstance(inner, exp.In):
            return f"{value} NOT{self.in_sql(inner).removeprefix(value)}"
        return f"NOT {self.sql(node, 'this')}"

    def substring_sql(self, node: exp.Substring) -> str:
        return str(self.func("SUBSTR", node.this, node.args.get("start"), node.args.get("length")))


class _Text(SQLite):  # type: ignore[misc]
    """SQLite with back-ticked names, as schema texts write them."""

    class Tokenizer(SQLite.Tokenizer):  # type: ignore[misc]
        IDENTIFIERS: ClassVar = ["`", '"', ("[", "]")]

    class Parser(SQLite.Parser):  # type: ignore[misc]
        def _warn_unsupported(self) -> None:
            """Say nothing: text that is no query is data here, and a model may write a great deal of it."""

    Generator = _TextGenerator


_DIALECT = _Text()


def parse_query(sql: str) -> exp.Query | None:
    """Return the tree of one ``SELECT`` (or a combination of several), or ``None`` for anything else."""
    try:
        statements = [statement for statement in _DIALECT.parse(sql) if statement is not None]
    except (SqlglotError, RecursionError):
        return None
    return statements[0] if len(statements) == 1 and isinstance(statements[0], exp.Query) else None


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of any text, with their places in it; none when it cannot be cut into tokens."""
    try:
        return list(_DIALECT.tokenize(text))
    except SqlglotError:
        return []


def sql_text(node: exp.Expression) -> str:
    """Return one expression or query on one line."""
    return str(_DIALECT.generate(node, copy=False, comments=False, unsupported_level=ErrorLevel.IGNORE))
