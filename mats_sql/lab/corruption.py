"""Realistic wrong SQL: edits of a gold query that models make too, some of which do not even execute.

Where a database hides something (the form of a word, a dead column or key, a number in a text), the mistake that
overlooks it is the likeliest.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from mats_sql.lab.databases import LabColumn, LabDatabase
from mats_sql.lab.forms import guess, invent
from mats_sql.lab.phrases import AGGREGATES
from mats_sql.lab.query import Condition, Expr, Literal, Query, Ref, map_refs, render

Corruption = Callable[[random.Random, Query, LabDatabase], Query | None]
"""Edits a query, or returns ``None`` where the edit does not apply."""

_OPERATORS = (">", "<", ">=", "<=", "=", "!=")


_OVERSIGHT_SHARE = 0.55
"""How often the mistake is one of :data:`_OVERSIGHTS`, where one of them applies."""
_UNQUALIFIED_SHARE = 0.06


def corrupt(rng: random.Random, query: Query, database: LabDatabase) -> str:
    """Return a SQL that differs from the query's in one edit, sometimes two. It may still give the same rows."""
    gold = render(query)
    count = 2 if rng.random() < 0.2 else 1
    if rng.random() < _OVERSIGHT_SHARE:
        overlooked = {edit: edit(rng, query, database) for edit in _OVERSIGHTS}
        changes = {edit: render(changed) for edit, changed in overlooked.items() if changed is not None}
        edits = [edit for edit, sql in changes.items() if sql != gold]
        if edits:
            return changes[rng.choices(edits, [_OVERSIGHTS[edit] for edit in edits])[0]]
    for _ in range(50):
        changed: Query | None = query
        for _ in range(count):
            edit = rng.choices(_EDITS, _WEIGHTS)[0]
            changed = edit(rng, changed, database) if changed is not None else None
        if changed is not None and render(changed) != gold:
            return _unqualified(rng, render(changed), changed) if rng.random() < _UNQUALIFIED_SHARE else render(changed)
    return f"SELECT * FROM {query.table}"


def misspell(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Write a word as the question says it, or in another form than the database's."""
    position = rng.randrange(len(query.where)) if query.where else -1
    if position >= 0:
        changed = _misspelled(rng, query.where[position], database)
        if changed is not None:
            return replace(query, where=(*query.where[:position], changed, *query.where[position + 1 :]))
    return _misspelled_case(rng, query, database)


def take_decoy(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Join, or look into, the key column that refers to no row."""
    used = {(ref.table, ref.column) for join in query.joins for ref in (join.left, join.right)}
    nested = [c.value.items[0].ref for c in query.where if isinstance(c.value, Query) and c.operator == "NOT IN"]
    used |= {(ref.table, ref.column) for ref in nested if ref is not None}
    links = [link for link in database.links if link.decoy and (link.child, link.key) in used]
    if not links:
        return None
    link = rng.choice(links)
    key, decoy = Ref(link.child, link.key), Ref(link.child, link.decoy)
    return map_refs(query, lambda ref: decoy if ref == key else ref)


def take_twin(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Take the column of the same name that holds only zeros."""
    columns = {ref: _column(ref, database) for ref in _refs(query)}
    twins = {ref: column.twin for ref, column in columns.items() if column is not None and column.twin}
    if not twins:
        return None
    taken = rng.choice(list(twins))
    return map_refs(query, lambda ref: Ref(ref.table, twins[ref]) if ref == taken else ref)


def misname_column(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Read a column that there is not: with another digit, without its own, or a key of a table that has none."""
    read = [ref for ref in _refs(query) if ref.column not in ("id", "name", "title")]
    if not read:
        return None
    taken = rng.choice(read)
    if taken.column.endswith(("_id", "_ref")):
        made = Ref(taken.table, f"{rng.choice(database.tables).name}_{rng.choice(('id', 'ref'))}")
    else:
        bare = taken.column.rstrip("0123456789")
        made = Ref(taken.table, rng.choice([name for name in (bare, f"{bare}1", f"{bare}2") if name != taken.column]))
    return map_refs(query, lambda ref: made if ref == taken else ref)


def turn_link(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Look for the key in the wrong one of two tables."""
    if not query.joins:
        return None
    position = rng.randrange(len(query.joins))
    join = query.joins[position]
    turned = replace(join, left=_turned(join.left, join.right), right=_turned(join.right, join.left))
    return replace(query, joins=(*query.joins[:position], turned, *query.joins[position + 1 :]))


def misname_table(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Read a table of a like-sounding name that there is not."""
    if query.joins:
        return None
    return replace(query, table=invent(rng, (query.table, query.table[::-1], "table")))


def forget_condition(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Keep only one of two conditions."""
    if len(query.where) < 2:
        return None
    return replace(query, where=(rng.choice(query.where),))


def forget_cast(_rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Compare, order or aggregate numbers as the texts they are stored as, or divide as integers."""
    return replace(
        query,
        items=tuple(_without_cast(item) for item in query.items),
        where=tuple(replace(condition, expr=_without_cast(condition.expr)) for condition in query.where),
        order=None if query.order is None else _without_cast(query.order),
    )


def count_doubles(_rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Count rows that a join has multiplied."""
    items = tuple(Expr(None, "COUNT") if item.function == "COUNT" and item.distinct else item for item in query.items)
    return replace(query, items=items, distinct=False)


def forget_missing(_rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Take a missing value for the lowest."""
    if query.order is None:
        return None
    return replace(query, where=tuple(c for c in query.where if c.operator != "IS NOT NULL"))


_OVERSIGHTS: dict[Corruption, float] = {
    misspell: 4,
    take_decoy: 3,
    take_twin: 3,
    forget_cast: 2,
    count_doubles: 1,
    forget_missing: 1,
    forget_condition: 2,
    misname_column: 1,
    turn_link: 1,
    misname_table: 0.3,
}


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
    return _with_item(query, position, changed)


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
    return _with_item(query, position, changed)


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


_EDITS: tuple[Corruption, ...] = (
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


def _refs(query: Query) -> list[Ref]:
    """Return the query's columns in their order, each once."""
    found: dict[Ref, None] = {}

    def note(ref: Ref) -> Ref:
        found[ref] = None
        return ref

    map_refs(query, note)
    return list(found)


def _turned(near: Ref, far: Ref) -> Ref:
    """Return a side of a join as it were if the other side held the key."""
    return Ref(near.table, f"{far.table}_id" if near.column == "id" else "id")


def _without_cast(expr: Expr) -> Expr:
    return replace(expr, cast="", exact=False, minus=None if expr.minus is None else _without_cast(expr.minus))


def _misspelled(rng: random.Random, condition: Condition, database: LabDatabase) -> Condition | None:
    ref, value = condition.expr.ref, condition.value
    column = None if ref is None else _column(ref, database)
    if column is None or not isinstance(value, str) or not column.spoken:
        return None
    return replace(condition, value=guess(rng, str(column.said(value))))


def _misspelled_case(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    for position, item in enumerate(query.items):
        changed = _misspelled(rng, item.case, database) if item.case is not None else None
        if changed is not None:
            return _with_item(query, position, replace(item, case=changed))
    return None


def _unqualified(rng: random.Random, sql: str, query: Query) -> str:
    """Return the SQL with one column that does not say its table."""
    prefix = rng.choice(query.tables) + "."
    places = [place for place in range(len(sql)) if sql.startswith(prefix, place)]
    if not places:
        return sql
    place = rng.choice(places)
    return sql[:place] + sql[place + len(prefix) :]


def _column(ref: Ref, database: LabDatabase) -> LabColumn | None:
    """Return a column; ``None`` for one that an edit made up."""
    return next((column for column in database.table(ref.table).columns if column.name == ref.column), None)


def _values(ref: Ref, database: LabDatabase) -> list[Literal]:
    """Return a column's values; none for a column that an earlier edit made up."""
    table, column = database.table(ref.table), _column(ref, database)
    return [] if column is None else [value for value in table.values(column) if value is not None]


def _any_column(rng: random.Random, name: str, database: LabDatabase) -> Ref:
    return Ref(name, rng.choice(database.table(name).columns[1:]).name)


def _with_item(query: Query, position: int, item: Expr) -> Query:
    return replace(query, items=(*query.items[:position], item, *query.items[position + 1 :]))
