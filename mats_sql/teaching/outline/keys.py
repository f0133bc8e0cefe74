"""Keys of the parts of a query: equal exactly when two parts differ in nothing that matters to their meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from mats_sql.teaching.outline.names import NEVER_NULL
from mats_sql.teaching.outline.parts import Joined, QueryParts, SelectParts, conjuncts, query_parts


@dataclass(frozen=True, slots=True)
class Joins:
    """What the joins of a ``SELECT`` make equal: a column -> the first of its class; and whether all are inner."""

    equal: Mapping[str, str]
    inner: bool


_UNJOINED = Joins({}, inner=False)

_COMMUTATIVE = (exp.EQ, exp.NEQ, exp.Add, exp.Mul)
_MIRRORED = {exp.GT: "LT", exp.GTE: "LTE"}


def select_key(query: QueryParts) -> str:
    """Return the key of the select lists: expressions, their order, and ``DISTINCT``."""
    lists = []
    for select in query.selects:
        joins = _joins(select)
        columns = ",".join(_key(projection, joins) for projection in select.projections)
        lists.append(f"{'distinct ' if select.distinct else ''}[{columns}]")
    return " ".join((*lists, *query.operators))


def condition_key(query: QueryParts) -> str:
    """Return the key of everything but the select lists: sources, joins, filters, groups, order, limit."""
    joins = _joins(query.selects[0]) if len(query.selects) == 1 else _UNJOINED
    named = ";".join(f"{name.lower()}={_query_key(body)}" for name, body in query.named)
    order = ",".join(_key(item, joins) for item in query.order)
    ends = ",".join("" if node is None else _key(node, joins) for node in (query.limit, query.offset))
    return "|".join((named, *(_source_key(select) for select in query.selects), *query.operators, order, ends))


def _source_key(select: SelectParts) -> str:
    joins = _joins(select)
    sources = sorted(_joined_key(joined, joins) for joined in select.joined)
    classes: dict[str, list[str]] = {}
    for column, first in joins.equal.items():
        classes.setdefault(first, []).append(column)
    edges = sorted("=".join(sorted(members)) for members in classes.values())
    filters = _filter_keys(select.conditions, joins)
    group = sorted({_key(item, joins) for item in select.group})
    having = _filter_keys(select.having, joins)
    return f"{sources}{edges}{filters}{group}{having}"


def _joined_key(joined: Joined, joins: Joins) -> str:
    source = f"{joined.how} {_key(joined.source, joins)}"
    if not joined.how:
        return source
    edges = sorted("=".join(sorted((_name(left), _name(right)))) for left, right in joined.edges)
    return f"{source}{edges}{sorted(_key(condition, joins) for condition in joined.filters)}"


def _joins(select: SelectParts) -> Joins:
    groups: list[set[str]] = []
    for joined in select.joined:
        for left, right in () if joined.how else joined.edges:
            pair = {_name(left), _name(right)}
            touched = [group for group in groups if group & pair]
            groups = [group for group in groups if not group & pair] + [pair.union(*touched)]
    inner = not any(joined.how for joined in select.joined)
    return Joins({column: min(group) for group in groups for column in group}, inner)


def _name(column: exp.Column) -> str:
    return f"{column.table}.{column.name}".lower()


def _query_key(query: exp.Expression) -> str:
    parts = query_parts(query)
    return f"({select_key(parts)}|{condition_key(parts)})"


def _key(node: exp.Expression, joins: Joins) -> str:
    node = node.unnest() if isinstance(node, exp.Paren) else node
    if isinstance(node, exp.Column):
        return "*" if isinstance(node.this, exp.Star) and not node.table else joins.equal.get(_name(node), _name(node))
    if isinstance(node, exp.Literal):
        return f"'{node.name}'" if node.is_string else node.name
    if isinstance(node, exp.Subquery):
        alias = f" {node.alias.lower()}" if node.alias else ""
        return _query_key(node.this) + alias
    if isinstance(node, exp.Query) and not isinstance(node, exp.Table):
        return _query_key(node)
    if isinstance(node, exp.And):
        return f"and{_filter_keys(conjuncts(node), joins)}"
    if isinstance(node, exp.Or):
        return f"or{sorted({_key(part.unnest(), joins) for part in node.flatten()})}"
    return _operator_key(node, joins)


def _filter_keys(conditions: Iterable[exp.Expression], joins: Joins) -> list[str]:
    """Return the keys of conjuncts, each once, sorted; ``BETWEEN`` is the two comparisons it stands for."""
    keys = set()
    for condition in conditions:
        if isinstance(condition, exp.Between):
            value, low, high = (_key(condition.args[name], joins) for name in ("this", "low", "high"))
            keys |= {f"lte[{low},{value}]", f"lte[{value},{high}]"}
        else:
            keys.add(_key(condition, joins))
    return sorted(keys)


def _operator_key(node: exp.Expression, joins: Joins) -> str:
    if isinstance(node, exp.Count) and _counts_rows(node.this, joins):
        return "count[*]"
    if isinstance(node, _COMMUTATIVE):
        return f"{node.key}{sorted((_key(node.this, joins), _key(node.expression, joins)))}"
    mirrored = _MIRRORED.get(type(node))
    if mirrored is not None:
        return f"{mirrored.lower()}[{_key(node.expression, joins)},{_key(node.this, joins)}]"
    if isinstance(node, exp.LT | exp.LTE):
        return f"{node.key}[{_key(node.this, joins)},{_key(node.expression, joins)}]"
    if isinstance(node, exp.Between):
        return f"and{_filter_keys([node], joins)}"
    if isinstance(node, exp.In) and node.expressions:
        return f"in[{_key(node.this, joins)}]{sorted({_key(item, joins) for item in node.expressions})}"
    return f"{node.key}[{','.join(_arguments(node, joins))}]"


def _counts_rows(counted: object, joins: Joins) -> bool:
    """Whether ``COUNT`` of this is ``COUNT(*)``: of a primary key it is, unless an outer join makes it NULL."""
    if isinstance(counted, exp.Star):
        return True
    return joins.inner and isinstance(counted, exp.Column) and bool(counted.meta.get(NEVER_NULL))


def _arguments(node: exp.Expression, joins: Joins) -> list[str]:
    keys = []
    for name, value in sorted(node.args.items()):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, exp.Expression):
                keys.append(f"{name}={_key(item, joins)}")
            elif item not in (None, False, ""):
                keys.append(f"{name}={str(item).lower()}")
    return keys
