"""Render the parts of a query as the short text that plans and critiques are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from mats_sql.benchmark import ForeignKey, quote_name
from mats_sql.teaching.outline.dialect import sql_text
from mats_sql.teaching.outline.parts import Edge, Joined, QueryParts, SelectParts


def selects_text(query: QueryParts) -> str:
    """Return the select lists."""
    return _with_operators(query, [_list_text(select) for select in query.selects])


def conditions_text(query: QueryParts) -> str:
    """Return filters, grouping, order and limit; ``none`` when there are none."""
    texts = [_filters_text(select) for select in query.selects]
    return " ".join(part for part in (_with_operators(query, texts), _tail_text(query)) if part) or "none"


def keeps_text(query: QueryParts, keys: Iterable[ForeignKey]) -> str:
    """Return what a query reads and all its conditions, ``FROM`` and ``WHERE`` included."""
    known = _unique_keys(keys)
    texts = []
    for select in query.selects:
        sources = ", ".join(_joined_text(joined, known, index) for index, joined in enumerate(select.joined))
        filters = _filters_text(select)
        where = "WHERE " if select.conditions else ""
        texts.append(" ".join(part for part in (f"FROM {sources}" if sources else "", where + filters) if part))
    named = ", ".join(f"{quote_name(name)} AS ({sql_text(body)})" for name, body in query.named)
    parts = (f"WITH {named}" if named else "", _with_operators(query, texts), _tail_text(query))
    return " ".join(part for part in parts if part) or "none"


def joins_astray(query: QueryParts, keys: Iterable[ForeignKey]) -> bool:
    """Whether a query joins along columns that no foreign key connects."""
    along = {_ends(key) for key in keys}
    edges = (edge for select in query.selects for joined in select.joined for edge in joined.edges)
    return any(_edge_text(edge) not in along for edge in edges)


def tables_of(query: exp.Expression) -> tuple[str, ...]:
    """Return the names of every table of a query, each once, in order of appearance."""
    named = {part.alias.lower() for part in query.find_all(exp.CTE)}
    names = (table.name for table in query.find_all(exp.Table, bfs=False))
    return tuple(dict.fromkeys(name for name in names if name.lower() not in named))


def _with_operators(query: QueryParts, texts: Sequence[str]) -> str:
    if not any(texts):
        return ""
    pieces = [texts[0] or "none"]
    for operator, text in zip(query.operators, texts[1:], strict=True):
        pieces += [operator, text or "none"]
    return " ".join(pieces)


def _list_text(select: SelectParts) -> str:
    columns = ", ".join(sql_text(projection) for projection in select.projections)
    return f"DISTINCT {columns}" if select.distinct else columns


def _filters_text(select: SelectParts) -> str:
    parts = [" AND ".join(_operand_text(condition) for condition in select.conditions)]
    if select.group:
        parts.append("GROUP BY " + ", ".join(sql_text(item) for item in select.group))
    if select.having:
        parts.append("HAVING " + " AND ".join(_operand_text(condition) for condition in select.having))
    return " ".join(part for part in parts if part)


def _operand_text(condition: exp.Expression) -> str:
    return f"({sql_text(condition)})" if isinstance(condition, exp.Or) else sql_text(condition)


def _tail_text(query: QueryParts) -> str:
    parts = []
    if query.order:
        parts.append("ORDER BY " + ", ".join(sql_text(item) for item in query.order))
    if query.limit is not None:
        parts.append("LIMIT " + sql_text(query.limit))
    if query.offset is not None:
        parts.append("OFFSET " + sql_text(query.offset))
    return " ".join(parts)


def _joined_text(joined: Joined, known: frozenset[frozenset[str]], index: int) -> str:
    """Return a source; a join along the only foreign key between two tables goes without saying."""
    text = sql_text(joined.source)
    if index and not joined.edges and not joined.filters:
        return f"{joined.how or 'CROSS'} {text}"
    told = [
        f"{sql_text(left)} = {sql_text(right)}"
        for left, right in joined.edges
        if _edge_text((left, right)) not in known
    ]
    told += [_operand_text(condition) for condition in joined.filters]
    on = " ON " + " AND ".join(told) if told else ""
    return f"{joined.how} {text}{on}".lstrip()


def _unique_keys(keys: Iterable[ForeignKey]) -> frozenset[frozenset[str]]:
    between: dict[frozenset[str], list[frozenset[str]]] = {}
    for key in keys:
        between.setdefault(frozenset((key.table.lower(), key.to_table.lower())), []).append(_ends(key))
    return frozenset(pairs[0] for pairs in between.values() if len(pairs) == 1)


def _ends(key: ForeignKey) -> frozenset[str]:
    return frozenset(
        (
            f"{quote_name(key.table)}.{quote_name(key.column)}".lower(),
            f"{quote_name(key.to_table)}.{quote_name(key.to_column)}".lower(),
        )
    )


def _edge_text(edge: Edge) -> frozenset[str]:
    left, right = edge
    return frozenset((sql_text(left).lower(), sql_text(right).lower()))
