"""What a model overlooks or takes for granted: the mistakes that an execution, or a look at the schema, shows.

Each edits a query, or returns ``None`` where it does not apply. What an earlier edit made up, it leaves as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from mats_sql.lab import words
from mats_sql.lab.databases import LabDatabase
from mats_sql.lab.forms import guess
from mats_sql.lab.query import Condition, Expr, Query, Ref, map_refs, render, with_item
from mats_sql.lab.words import Kind

Edit = Callable[[random.Random, Query, LabDatabase], Query | None]
"""Edits a query, or returns ``None`` where the edit does not apply."""

MORE_SHARE = 0.3
"""How often another oversight follows."""
_WORDS = (Kind.CATEGORY, Kind.CODE)


def overlook(rng: random.Random, query: Query, database: LabDatabase, more_share: float = MORE_SHARE) -> Query | None:
    """Return the query with one oversight, sometimes with more; ``None`` where none applies."""
    changed = _one_more(rng, query, query, database)
    while changed is not None and rng.random() < more_share:
        another = _one_more(rng, changed, query, database)
        if another is None:
            break
        changed = another
    return changed


def _one_more(rng: random.Random, query: Query, gold: Query, database: LabDatabase) -> Query | None:
    """Return the query with an oversight that changes it, and not back into gold."""
    overlooked = {edit: edit(rng, query, database) for edit in OVERSIGHTS}
    known = (render(query), render(gold))
    changes = {
        edit: changed for edit, changed in overlooked.items() if changed is not None and render(changed) not in known
    }
    if not changes:
        return None
    return changes[rng.choices(list(changes), [OVERSIGHTS[edit] for edit in changes])[0]]


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
    columns = {ref: database.column(ref) for ref in _refs(query)}
    twins = {ref: column.twin for ref, column in columns.items() if column is not None and column.twin}
    if not twins:
        return None
    taken = rng.choice(list(twins))
    return map_refs(query, lambda ref: Ref(ref.table, twins[ref]) if ref == taken else ref)


def misname_column(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    """Read a column that there is not: a number with another digit or without its own, a key of a table that has none,
    a word under what other tables call theirs."""
    taken = [ref for ref in _refs(query) if _is_key(ref) or _kind(ref, database) in (Kind.NUMBER, *_WORDS)]
    if not taken:
        return None
    ref = rng.choice(taken)
    made = Ref(ref.table, _misnamed(rng, ref, database))
    return map_refs(query, lambda read: made if read == ref else read)


def _misnamed(rng: random.Random, ref: Ref, database: LabDatabase) -> str:
    """Return a name that is not the column's; a number's may be its twin's."""
    if _is_key(ref):
        return f"{rng.choice(database.tables).name}_{rng.choice(('id', 'ref'))}"
    if _kind(ref, database) in _WORDS:
        there = {column.name for column in database.table(ref.table).columns}
        return rng.choice([name for name in words.category_names() if name not in there])
    bare = ref.column.rstrip("0123456789")
    return rng.choice([name for name in (bare, *words.twins_of(bare)) if name != ref.column])


def turn_link(rng: random.Random, query: Query, _database: LabDatabase) -> Query | None:
    """Look for the key in the wrong one of two tables."""
    if not query.joins:
        return None
    position = rng.randrange(len(query.joins))
    join = query.joins[position]
    turned = replace(join, left=_turned(join.left, join.right), right=_turned(join.right, join.left))
    return replace(query, joins=(*query.joins[:position], turned, *query.joins[position + 1 :]))


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


OVERSIGHTS: dict[Edit, float] = {
    misspell: 6,
    take_decoy: 3,
    take_twin: 3,
    forget_cast: 2,
    forget_condition: 2,
    turn_link: 0.7,
    misname_column: 0.7,
    count_doubles: 1,
    forget_missing: 1,
}
"""Oversight -> how often it is made, beside the others that apply."""


def _refs(query: Query) -> list[Ref]:
    """Return the query's columns in their order, each once."""
    found: dict[Ref, None] = {}

    def note(ref: Ref) -> Ref:
        found[ref] = None
        return ref

    map_refs(query, note)
    return list(found)


def _is_key(ref: Ref) -> bool:
    return ref.column.endswith(("_id", "_ref"))


def _kind(ref: Ref, database: LabDatabase) -> Kind | None:
    column = database.column(ref)
    return None if column is None or column.attribute is None else column.attribute.kind


def _turned(near: Ref, far: Ref) -> Ref:
    """Return a side of a join as it were if the other side held the key."""
    return Ref(near.table, f"{far.table}_id" if near.column == "id" else "id")


def _without_cast(expr: Expr) -> Expr:
    return replace(expr, cast="", exact=False, minus=None if expr.minus is None else _without_cast(expr.minus))


def _misspelled(rng: random.Random, condition: Condition, database: LabDatabase) -> Condition | None:
    ref, value = condition.expr.ref, condition.value
    column = None if ref is None else database.column(ref)
    if column is None or not isinstance(value, str) or not column.spoken:
        return None
    return replace(condition, value=guess(rng, str(column.said(value))))


def _misspelled_case(rng: random.Random, query: Query, database: LabDatabase) -> Query | None:
    for position, item in enumerate(query.items):
        changed = _misspelled(rng, item.case, database) if item.case is not None else None
        if changed is not None:
            return with_item(query, position, replace(item, case=changed))
    return None
