"""Realistic wrong SQL: edits of a gold query that models make too, some of which do not even execute.

Where a database hides something (the form of a word, a dead column or key, a number in a text), the mistake that
overlooks it (``oversights``) is the likeliest; now and then the pen slips besides (``slips``).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from mats_sql.lab.databases import LabDatabase
from mats_sql.lab.oversights import MORE_SHARE, Edit, overlook
from mats_sql.lab.phrases import AGGREGATES
from mats_sql.lab.query import Condition, Expr, Literal, Query, Ref, render, with_item
from mats_sql.lab.slips import slip

_OPERATORS = (">", "<", ">=", "<=", "=", "!=")

_OVERSIGHT_SHARE = 0.6
"""How often the mistake is an oversight, where one applies."""
_SLIP_SHARE = 0.12
"""How often the pen slips besides."""


def corrupt(
    rng: random.Random,
    query: Query,
    database: LabDatabase,
    more_share: float = MORE_SHARE,
    crossed_share: float = 0,
) -> str:
    """Return a SQL that differs from the query's in one mistake, sometimes in more. It may still give the same rows.

    ``more_share`` says how often another oversight follows one, ``crossed_share`` how often the name of a table that is
    miswritten is a cross of two.
    """
    changed = overlook(rng, query, database, more_share) if rng.random() < _OVERSIGHT_SHARE else None
    changed = changed or _edited(rng, query, database)
    sql = f"SELECT * FROM {query.table}" if changed is None else render(changed)
    slipped = slip(rng, sql, query, crossed_share) if rng.random() < _SLIP_SHARE else sql
    return sql if slipped == render(query) else slipped


def _edited(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Return the query with one edit, sometimes two; ``None`` where fifty tries changed nothing."""
    count = 2 if rng.random() < 0.2 else 1
    for _ in range(50):
        changed: Query | None = query
        for _ in range(count):
            edit = rng.choices(_EDITS, _WEIGHTS)[0]
            changed = edit(rng, changed, database) if changed is not None else None
        if changed is not None and render(changed) != render(query):
            return changed
    return None


def swap_item(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Select another column in one place."""
    position = rng.randrange(len(query.items))
    item = query.items[position]
    if item.ref is None:
        return None
    column = _other_column(rng, item.ref, query, database)
    changed = replace(
        item, ref=column, minus=replace(item.minus, ref=column) if item.minus and item.function else item.minus
    )
    return with_item(query, position, changed)


def drop_item(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Select one column less."""
    if len(query.items) < 2:
        return None
    position = rng.randrange(len(query.items))
    return replace(query, items=query.items[:position] + query.items[position + 1 :])


def add_item(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Select one column more."""
    if any(item.function for item in query.items) and query.group is None:
        return None
    column = Expr(_any_column(rng, rng.choice(query.tables), database))
    position = rng.randint(0, len(query.items))
    return replace(query, items=(*query.items[:position], column, *query.items[position:]))


def reorder_items(_rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Select the same columns the other way round."""
    return replace(query, items=query.items[::-1]) if len(query.items) > 1 else None


def change_aggregate(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Aggregate in another way, or add or lose an aggregate."""
    position = rng.randrange(len(query.items))
    item = query.items[position]
    if item.ref is None:
        changed = Expr(_any_column(rng, query.table, database))
    elif item.function in AGGREGATES:
        changed = Expr(item.ref, rng.choice([name for name in ("", "COUNT", *AGGREGATES) if name != item.function]))
    else:
        changed = Expr(None, "COUNT") if rng.random() < 0.5 else Expr(item.ref, rng.choice(list(AGGREGATES)))
    return with_item(query, position, changed)


def change_operator(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Compare in another way."""
    return _edit_condition(rng, query, lambda condition: _another_operator(rng, condition))


def change_value(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Compare with another value of the same column, or a number misread."""

    def edit(condition: Condition) -> Condition | None:
        if isinstance(condition.value, tuple):
            return replace(condition, value=(condition.value[0], condition.value[1] + 10))  # type: ignore[operator]
        if condition.expr.ref is None or condition.value is None or isinstance(condition.value, Query):
            return None
        values = [value for value in _values(condition.expr.ref, database) if value != condition.value]
        return replace(condition, value=rng.choice(values)) if values else None

    return _edit_condition(rng, query, edit)


def change_condition_column(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Compare another column with the value."""

    def edit(condition: Condition) -> Condition | None:
        if condition.expr.ref is None:
            return None
        column = _other_column(rng, condition.expr.ref, query, database)
        return replace(condition, expr=replace(condition.expr, ref=column))

    return _edit_condition(rng, query, edit)


def drop_condition(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Forget a condition."""
    if query.having is not None:
        return replace(query, having=None)
    if not query.where:
        return None
    position = rng.randrange(len(query.where))
    return replace(query, where=query.where[:position] + query.where[position + 1 :])


def add_condition(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Invent a condition."""
    if len(query.where) > 1:
        return None
    ref = _any_column(rng, rng.choice(query.tables), database)
    values = _values(ref, database)
    if not values:
        return None
    value = rng.choice(values)
    operator = "=" if isinstance(value, str) else rng.choice(_OPERATORS)
    return replace(query, where=(*query.where, Condition(Expr(ref), operator, value)))


def flip_connector(_rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Take ``AND`` for ``OR`` or the other way round."""
    return replace(query, either=not query.either) if len(query.where) > 1 else None


def change_order(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Order the other way, by another column, or not at all."""
    if query.order is None:
        return None
    draw = rng.random()
    if draw < 0.5 or query.order.ref is None:
        return replace(query, descending=not query.descending)
    if draw < 0.85:
        column = _other_column(rng, query.order.ref, query, database)
        return replace(query, order=replace(query.order, ref=column))
    return replace(query, order=None, limit=None)


def change_limit(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Cut elsewhere, or cut what should not be cut."""
    if query.order is None:
        return None
    return replace(query, limit=rng.choice([limit for limit in (None, 1, 2, 3, 5, 10) if limit != query.limit]))


def change_group(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Group by another column, or not at all."""
    if query.group is None:
        return None
    return replace(query, group=None if rng.random() < 0.5 else _other_column(rng, query.group, query, database))


def drop_join(_rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Forget the join: what refers to the other table fails, or loses its table."""
    return replace(query, joins=query.joins[:-1]) if query.joins else None


def wrong_join(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Join along other columns."""
    if not query.joins:
        return None
    join = query.joins[-1]
    ids = replace(join, left=Ref(join.left.table, "id"), right=Ref(join.right.table, "id"))
    swapped = replace(join, left=Ref(join.left.table, join.right.column), right=Ref(join.right.table, join.left.column))
    return replace(query, joins=(*query.joins[:-1], rng.choice((ids, swapped))))


def wrong_table(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Read another table, with the same column names."""
    if query.joins:
        return None
    others = [table.name for table in database.tables if table.name != query.table]
    return replace(query, table=rng.choice(others)) if others else None


_EDITS: tuple[Edit, ...] = (
    swap_item,
    drop_item,
    add_item,
    reorder_items,
    change_aggregate,
    change_operator,
    change_value,
    change_condition_column,
    drop_condition,
    add_condition,
    flip_connector,
    change_order,
    change_limit,
    change_group,
    drop_join,
    wrong_join,
    wrong_table,
)
_WEIGHTS = (8, 4, 3, 2, 5, 6, 4, 8, 4, 1, 2, 4, 2, 2, 3, 3, 3)


def _edit_condition(rng: random.Random, query: Query, edit: Callable[[Condition], Condition | None]) -> Query | None:
    if query.having is not None:
        changed = edit(query.having)
        return replace(query, having=changed) if changed else None
    if not query.where:
        return None
    position = rng.randrange(len(query.where))
    changed = edit(query.where[position])
    if changed is None:
        return None
    return replace(query, where=(*query.where[:position], changed, *query.where[position + 1 :]))


def _another_operator(rng: random.Random, condition: Condition) -> Condition | None:
    operator = condition.operator
    if operator.startswith("IS"):
        return replace(condition, operator="IS NULL" if operator == "IS NOT NULL" else "IS NOT NULL")
    if operator.endswith("IN"):
        return replace(condition, operator="IN" if operator == "NOT IN" else "NOT IN")
    if isinstance(condition.value, tuple):
        return replace(condition, operator=rng.choice((">", "<")), value=rng.choice(condition.value))
    if isinstance(condition.value, str):
        return replace(condition, operator="!=" if operator == "=" else "=")
    return replace(condition, operator=rng.choice([other for other in _OPERATORS if other != operator]))


def _other_column(rng: random.Random, ref: Ref, query: Query, database: LabDatabase) -> Ref:
    """Return another column: of the same table, of another one of the query, or (an error, mostly) of any table."""
    draw = rng.random()
    name = ref.table if draw < 0.7 else rng.choice(query.tables)
    others = [column.name for column in database.table(name).columns if (name, column.name) != (ref.table, ref.column)]
    if draw < 0.93:
        return Ref(name, rng.choice(others))
    foreign = rng.choice(database.tables)
    return Ref(ref.table, rng.choice(foreign.columns).name)


def _values(ref: Ref, database: LabDatabase) -> list[Literal]:
    """Return a column's values; none for a column that an earlier edit made up."""
    table, column = database.table(ref.table), database.column(ref)
    return [] if column is None else [value for value in table.values(column) if value is not None]


def _any_column(rng: random.Random, name: str, database: LabDatabase) -> Ref:
    return Ref(name, rng.choice(database.table(name).columns[1:]).name)
