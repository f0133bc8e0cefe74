"""The SQL of the lab as data, so that questions are built, and corrupted, by editing structure instead of text."""

from __future__ import annotations

from dataclasses import dataclass

Literal = int | float | str


@dataclass(frozen=True, slots=True)
class Ref:
    """A column of a table."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Expr:
    """A column, an aggregate of it, or a difference of two. ``ref`` is ``None`` in ``COUNT(*)``."""

    ref: Ref | None
    function: str = ""
    distinct: bool = False
    minus: Expr | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """``expr operator value``; the value is a literal, two literals (``BETWEEN``), a query or nothing (``IS NULL``)."""

    expr: Expr
    operator: str
    value: Literal | tuple[Literal, Literal] | Query | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """One more table, and the two columns that connect it."""

    table: str
    left: Ref
    right: Ref


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT statement. Columns are qualified exactly when it joins tables."""

    items: tuple[Expr, ...]
    table: str
    joins: tuple[Join, ...] = ()
    where: tuple[Condition, ...] = ()
    either: bool = False
    group: Ref | None = None
    having: Condition | None = None
    order: Expr | None = None
    descending: bool = False
    limit: int | None = None
    distinct: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables in the order they appear in the statement."""
        return (self.table, *(join.table for join in self.joins))


def render(query: Query) -> str:
    """Return the SQL text of a query."""
    qualified = bool(query.joins)
    parts = ["SELECT DISTINCT" if query.distinct else "SELECT"]
    parts.append(", ".join(_expr(item, qualified) for item in query.items))
    parts.append(f"FROM {query.table}")
    parts += [f"JOIN {join.table} ON {_ref(join.left, True)} = {_ref(join.right, True)}" for join in query.joins]
    if query.where:
        conditions = (_condition(condition, qualified) for condition in query.where)
        parts.append("WHERE " + (" OR " if query.either else " AND ").join(conditions))
    if query.group is not None:
        parts.append(f"GROUP BY {_ref(query.group, qualified)}")
    if query.having is not None:
        parts.append(f"HAVING {_condition(query.having, qualified)}")
    if query.order is not None:
        parts.append(f"ORDER BY {_expr(query.order, qualified)} {'DESC' if query.descending else 'ASC'}")
    if query.limit is not None:
        parts.append(f"LIMIT {query.limit}")
    return " ".join(parts)


def literal_text(value: Literal) -> str:
    """Return a literal as SQL writes it."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def condition_text(condition: Condition) -> str:
    """Return an unqualified condition, as evidence words it."""
    return _condition(condition, False)


def _condition(condition: Condition, qualified: bool) -> str:
    left = _expr(condition.expr, qualified)
    value = condition.value
    if value is None:
        return f"{left} {condition.operator}"
    if isinstance(value, Query):
        return f"{left} {condition.operator} ({render(value)})"
    if isinstance(value, tuple):
        return f"{left} {condition.operator} {literal_text(value[0])} AND {literal_text(value[1])}"
    return f"{left} {condition.operator} {literal_text(value)}"


def _expr(expr: Expr, qualified: bool) -> str:
    text = "*" if expr.ref is None else _ref(expr.ref, qualified)
    if expr.distinct:
        text = f"DISTINCT {text}"
    if expr.function:
        text = f"{expr.function}({text})"
    return text if expr.minus is None else f"{text} - {_expr(expr.minus, qualified)}"


def _ref(ref: Ref, qualified: bool) -> str:
    return f"{ref.table}.{ref.column}" if qualified else ref.column
