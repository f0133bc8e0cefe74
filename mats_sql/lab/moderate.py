"""Families of moderate questions: two conditions, ordering, grouping, one join."""

from __future__ import annotations

import random

from mats_sql.lab.databases import LabDatabase
from mats_sql.lab.draft import Draft, complete_numbers, pick_filter, pick_link, pick_table, shown_columns
from mats_sql.lab.phrases import AGGREGATES, LEAD, expr, plural, superlative
from mats_sql.lab.query import Expr, Query
from mats_sql.lab.simple import some_columns
from mats_sql.lab.words import Kind

COUNT = Expr(None, "COUNT")


def two_conditions(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Rows that meet two conditions, or either of two."""
    table = pick_table(rng, database)
    first, second = pick_filter(rng, table), pick_filter(rng, table)
    if first is None or second is None or first.condition.expr == second.condition.expr:
        return None
    either = bool(first.after and second.after) and rng.random() < 0.4
    if (first.evidence and second.evidence) or (first.before and second.before):
        return None
    if either:
        subject = f"{plural(table.name)} {first.after} or {second.after}"
    else:
        inner = first.phrase(plural(table.name))
        joint = f"and {second.after}" if first.after and second.after else second.after
        subject = " ".join(part for part in (second.before, inner, joint) if part)
    columns, named = some_columns(rng, table, 1, 2)
    items = (COUNT,) if rng.random() < 0.4 else tuple(expr(table, column) for column in columns)
    text = f"How many {subject} are there?" if items == (COUNT,) else f"{rng.choice(LEAD)} the {named} of {subject}."
    query = Query(items, table.name, where=(first.condition, second.condition), either=either)
    return Draft(text, query, first.evidence or second.evidence)


def extreme_row(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A column of the row with the most extreme number, possibly among those that a filter keeps."""
    table = pick_table(rng, database)
    numbers = complete_numbers(table)
    if not numbers:
        return None
    column = rng.choice(numbers)
    descending = rng.random() < 0.5
    found = pick_filter(rng, table) if rng.random() < 0.5 else None
    _, named = asked = some_columns(rng, table, 1, 2)
    adjective = superlative(rng, column.attribute, descending) if column.attribute else ""
    noun = found.phrase(table.name) if found and not (adjective and found.before) else table.name
    where = (found.condition,) if found and noun != table.name else ()
    extreme = "highest" if descending else "lowest"
    subject = f"the {adjective} {noun}" if adjective else f"the {noun} with the {extreme} {column.name}"
    text = rng.choice((f"What is the {named} of {subject}?", f"{rng.choice(LEAD)} the {named} of {subject}."))
    items = tuple(expr(table, shown) for shown in asked[0])
    query = Query(items, table.name, where=where, order=expr(table, column), descending=descending, limit=1)
    return Draft(text, query, found.evidence if found and where else "")


def top_rows(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A column of the few rows with the most extreme numbers."""
    table = pick_table(rng, database)
    numbers = complete_numbers(table)
    if not numbers:
        return None
    column = rng.choice(numbers)
    descending = rng.random() < 0.5
    limit = rng.randint(2, 6)
    columns, named = some_columns(rng, table, 1, 2)
    adjective = superlative(rng, column.attribute, descending) if column.attribute else ""
    extreme = "highest" if descending else "lowest"
    subject = (
        f"{limit} {adjective} {plural(table.name)}"
        if adjective
        else f"{limit} {plural(table.name)} with the {extreme} {column.name}"
    )
    items = tuple(expr(table, shown) for shown in columns)
    query = Query(items, table.name, order=expr(table, column), descending=descending, limit=limit)
    return Draft(f"{rng.choice(LEAD)} the {named} of the {subject}.", query)


def group(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A count or an aggregate for each value of a category."""
    table = pick_table(rng, database)
    categories, numbers = table.of_kind(Kind.CATEGORY), table.of_kind(Kind.NUMBER)
    if not categories:
        return None
    key = rng.choice(categories)
    found = pick_filter(rng, table) if rng.random() < 0.3 else None
    if found is not None and found.condition.expr.ref == expr(table, key).ref:
        return None
    subject = found.phrase(plural(table.name)) if found else plural(table.name)
    if numbers and rng.random() < 0.5:
        column, function = rng.choice(numbers), rng.choice(list(AGGREGATES))
        measure = expr(table, column, function)
        named = f"{rng.choice(AGGREGATES[function])} {column.name}"
        text = rng.choice(
            (
                f"For each {key.name}, what is the {named} of {subject}?",
                f"{rng.choice(LEAD)} the {named} of {subject} per {key.name}.",
            )
        )
    else:
        measure = COUNT
        text = rng.choice(
            (
                f"How many {subject} are there for each {key.name}?",
                f"{rng.choice(LEAD)} the number of {subject} per {key.name}.",
            )
        )
    where = (found.condition,) if found else ()
    query = Query((expr(table, key), measure), table.name, where=where, group=expr(table, key).ref)
    return Draft(text, query, found.evidence if found else "")


def of_parent(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Columns of the rows whose parent row meets a condition: "the titles of albums of singers from France"."""
    child, parent, to_parent, _ = pick_link(rng, database)
    found = pick_filter(rng, parent)
    if found is None:
        return None
    columns, named = some_columns(rng, child, 1, 2)
    owner = found.phrase(plural(parent.name))
    if rng.random() < 0.35:
        items: tuple[Expr, ...] = (COUNT,)
        text = f"How many {plural(child.name)} of {owner} are there?"
    else:
        items = tuple(expr(child, column) for column in columns)
        text = f"{rng.choice(LEAD)} the {named} of {plural(child.name)} of {owner}."
    query = Query(items, child.name, (to_parent,), where=(found.condition,))
    return Draft(text, query, found.evidence)


def of_child(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Columns of the rows that have a child row meeting a condition: "the names of singers with jazz albums"."""
    child, parent, _, to_child = pick_link(rng, database)
    found = pick_filter(rng, child)
    if found is None:
        return None
    columns, named = some_columns(rng, parent, 1, 2)
    owned = found.phrase(plural(child.name))
    text = f"{rng.choice(LEAD)} the {named} of {plural(parent.name)} that have {owned}."
    items = tuple(expr(parent, column) for column in columns)
    return Draft(text, Query(items, parent.name, (to_child,), where=(found.condition,)), found.evidence)


def side_by_side(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A column of each row beside a column of its parent row."""
    child, parent, to_parent, _ = pick_link(rng, database)
    left, right = rng.choice(shown_columns(child)), rng.choice(shown_columns(parent))
    text = (
        f"{rng.choice(LEAD)} the {left.name} of each {child.name} together with the {right.name} of its {parent.name}."
    )
    return Draft(text, Query((expr(child, left), expr(parent, right)), child.name, (to_parent,)))
