"""Take a resolved query apart into what it selects and what it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlglot import exp

Edge = tuple[exp.Column, exp.Column]


@dataclass(frozen=True, slots=True)
class Joined:
    """One source: how it is joined (``""``, ``LEFT`` …), the column pairs that join it, and an outer join's filters."""

    how: str
    source: exp.Expression
    edges: tuple[Edge, ...] = ()
    filters: tuple[exp.Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class SelectParts:
    """One ``SELECT``. ``conditions`` are the conjuncts of ``WHERE`` and inner ``ON`` that do not join two sources."""

    distinct: bool
    projections: tuple[exp.Expression, ...]
    joined: tuple[Joined, ...]
    conditions: tuple[exp.Expression, ...]
    group: tuple[exp.Expression, ...]
    having: tuple[exp.Expression, ...]


@dataclass(frozen=True, slots=True)
class QueryParts:
    """A query: one ``SELECT``, or several with the operators between them; then ``ORDER BY``, ``LIMIT``, ``OFFSET``."""

    named: tuple[tuple[str, exp.Expression], ...]
    selects: tuple[SelectParts, ...]
    operators: tuple[str, ...]
    order: tuple[exp.Expression, ...]
    limit: exp.Expression | None
    offset: exp.Expression | None


def query_parts(query: exp.Expression) -> QueryParts:
    """Return the parts of a query whose names are resolved."""
    while isinstance(query, exp.Subquery) and not query.args.get("order") and not query.args.get("limit"):
        query = query.this
    selects, operators = _branches(query)
    clause, order = query.args.get("with_"), query.args.get("order")
    limit, offset = query.args.get("limit"), query.args.get("offset")
    return QueryParts(
        named=tuple((part.alias, part.this) for part in clause.expressions) if clause else (),
        selects=tuple(_select_parts(select) for select in selects),
        operators=tuple(operators),
        order=tuple(order.expressions) if order else (),
        limit=limit.expression if limit else None,
        offset=offset.expression if offset else None,
    )


def conjuncts(node: exp.Expression | None) -> Iterator[exp.Expression]:
    """Yield the operands of nested ``AND``, parentheses taken off."""
    if node is None:
        return
    node = node.unnest()
    if isinstance(node, exp.And):
        yield from conjuncts(node.this)
        yield from conjuncts(node.expression)
    else:
        yield node


def _branches(query: exp.Expression) -> tuple[list[exp.Select], list[str]]:
    if isinstance(query, exp.Select):
        return [query], []
    if isinstance(query, exp.Subquery):
        return _branches(query.this)
    if not isinstance(query, exp.SetOperation):
        return [], []
    left, left_operators = _branches(query.this)
    right, right_operators = _branches(query.expression)
    name = type(query).__name__.upper() + ("" if query.args.get("distinct") else " ALL")
    return left + right, [*left_operators, name, *right_operators]


def _select_parts(select: exp.Select) -> SelectParts:
    where, group, having = (select.args.get(name) for name in ("where", "group", "having"))
    joined, conditions = _joined(select, list(conjuncts(where.this if where else None)))
    return SelectParts(
        distinct=select.args.get("distinct") is not None,
        projections=tuple(select.expressions),
        joined=joined,
        conditions=tuple(conditions),
        group=tuple(group.expressions) if group else (),
        having=tuple(conjuncts(having.this if having else None)),
    )


def _joined(select: exp.Select, where: list[exp.Expression]) -> tuple[tuple[Joined, ...], list[exp.Expression]]:
    """Return the sources with their joining pairs, and the conditions that remain: those of inner ``ON`` first."""
    first = select.args.get("from_")
    found = [] if first is None else [Joined("", first.this)]
    loose, rest = _split(where)
    remaining: list[exp.Expression] = []
    for join in select.args.get("joins") or ():
        edges, filters = _split(conjuncts(join.args.get("on")))
        how = " ".join(word for word in (join.method, join.side) if word)
        if how:
            found.append(Joined(how, join.this, tuple(edges), tuple(filters)))
            continue
        name = join.this.alias_or_name
        edges += [edge for edge in loose if name in (edge[0].table, edge[1].table)]
        loose = [edge for edge in loose if name not in (edge[0].table, edge[1].table)]
        found.append(Joined("", join.this, tuple(edges)))
        remaining += filters
    unused = [exp.EQ(this=left.copy(), expression=right.copy()) for left, right in loose]
    return tuple(found), [*remaining, *unused, *rest]


def _split(conditions: Iterable[exp.Expression]) -> tuple[list[Edge], list[exp.Expression]]:
    edges, rest = [], []
    for condition in conditions:
        edge = _edge(condition)
        if edge is None:
            rest.append(condition)
        else:
            edges.append(edge)
    return edges, rest


def _edge(condition: exp.Expression) -> Edge | None:
    if not isinstance(condition, exp.EQ):
        return None
    left, right = condition.this.unnest(), condition.expression.unnest()
    if isinstance(left, exp.Column) and isinstance(right, exp.Column) and left.table and right.table:
        return (left, right) if left.table != right.table else None
    return None
