"""The SQL of the lab as data, so that questions are built, and corrupted, by editing structure instead of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

Literal = int | float | str


@dataclass(frozen=True, slots=True)
class Ref:
    """A column of a table."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Expr:
    """A column, an aggregate of it, or what two such give when subtracted or divided.

    ``ref`` is ``None`` in ``COUNT(*)`` and where ``case`` stands in its place (1 for rows that meet it, else 0).
    ``cast`` reads a text as a number. ``over`` divides: as reals when ``exact``, in percent when ``percent``.
    """

    ref: Ref | None
    function: str = ""
    distinct: bool = False
    cast: str = ""
    case: Condition | None = None
    minus: Expr | None = None
    over: Expr | None = None
    exact: bool = True
    percent: bool = False

    def refs(self) -> Iterator[Ref]:
        """Yield every column of the expression."""
        if self.ref is not None:
            yield self.ref
        for part in (self.case.expr if self.case else None, self.minus, self.over):
            if part is not None:
                yield from part.refs()


@dataclass(frozen=True, slots=True)
class Condition:
    """``expr operator value``; the value is a literal, two literals (``BETWEEN``), a query or nothing (``IS NULL``)."""

    expr: Expr
    operator: str
    value: Literal | tuple[Literal, Literal] | Query | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """One more table, and the two columns that connect it; ``outer`` keeps the rows that find no match."""

    table: str
    left: Ref
    right: Ref
    outer: bool = False


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
    parts += [_join(join) for join in query.joins]
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


def map_refs(query: Query, change: Callable[[Ref], Ref]) -> Query:
    """Return the query with every column changed, nested queries included."""
    return replace(
        query,
        items=tuple(_map_expr(item, change) for item in query.items),
        joins=tuple(replace(join, left=change(join.left), right=change(join.right)) for join in query.joins),
        where=tuple(_map_condition(condition, change) for condition in query.where),
        group=None if query.group is None else change(query.group),
        having=None if query.having is None else _map_condition(query.having, change),
        order=None if query.order is None else _map_expr(query.order, change),
    )


def with_item(query: Query, position: int, item: Expr) -> Query:
    """Return the query with another expression at a place of its select list."""
    return replace(query, items=(*query.items[:position], item, *query.items[position + 1 :]))


def _map_expr(expr: Expr, change: Callable[[Ref], Ref]) -> Expr:
    return replace(
        expr,
        ref=None if expr.ref is None else change(expr.ref),
        case=None if expr.case is None else _map_condition(expr.case, change),
        minus=None if expr.minus is None else _map_expr(expr.minus, change),
        over=None if expr.over is None else _map_expr(expr.over, change),
    )


def _map_condition(condition: Condition, change: Callable[[Ref], Ref]) -> Condition:
    value = map_refs(condition.value, change) if isinstance(condition.value, Query) else condition.value
    return replace(condition, expr=_map_expr(condition.expr, change), value=value)


def literal_text(value: Literal) -> str:
    """Return a literal as SQL writes it."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def _join(join: Join) -> str:
    word = "LEFT JOIN" if join.outer else "JOIN"
    return f"{word} {join.table} ON {_ref(join.left, True)} = {_ref(join.right, True)}"


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
    text = _operand(expr, qualified)
    if expr.over is not None:
        left = f"CAST({text} AS REAL)" if expr.exact else text
        return f"{left}{' * 100' if expr.percent else ''} / {_expr(expr.over, qualified)}"
    return text if expr.minus is None else f"{text} - {_expr(expr.minus, qualified)}"


def _operand(expr: Expr, qualified: bool) -> str:
    if expr.case is not None:
        text = f"CASE WHEN {_condition(expr.case, qualified)} THEN 1 ELSE 0 END"
    else:
        text = "*" if expr.ref is None else _ref(expr.ref, qualified)
    if expr.cast:
        text = f"CAST({text} AS {expr.cast})"
    if expr.distinct:
        text = f"DISTINCT {text}"
    return f"{expr.function}({text})" if expr.function else text


def _ref(ref: Ref, qualified: bool) -> str:
    return f"{ref.table}.{ref.column}" if qualified else ref.column
