"""Families of challenging questions: nested queries, groups over joins, differences."""

from __future__ import annotations

import random

from mats_sql.lab.databases import LabDatabase
from mats_sql.lab.draft import Draft, complete_numbers, pick_filter, pick_link, pick_table, shown_columns
from mats_sql.lab.moderate import COUNT
from mats_sql.lab.phrases import AGGREGATES, LEAD, expr, plural, superlative
from mats_sql.lab.query import Condition, Expr, Query, Ref
from mats_sql.lab.simple import some_columns
from mats_sql.lab.words import Kind


def beyond_average(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Rows above or below the average of all rows."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    above = rng.random() < 0.5
    average = Query((expr(table, column, "AVG"),), table.name)
    condition = Condition(expr(table, column), ">" if above else "<", average)
    subject = f"{plural(table.name)} with {column.name} {'above' if above else 'below'} average"
    columns, named = some_columns(rng, table, 1, 2)
    counted = rng.random() < 0.3
    items = (COUNT,) if counted else tuple(expr(table, shown) for shown in columns)
    text = f"How many {subject} are there?" if counted else f"{rng.choice(LEAD)} the {named} of {subject}."
    return Draft(text, Query(items, table.name, where=(condition,)))


def without_children(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Rows that no row of another table refers to."""
    child, parent, _, _ = pick_link(rng, database)
    referring = Query((Expr(Ref(child.name, f"{parent.name}_id")),), child.name)
    condition = Condition(Expr(Ref(parent.name, "id")), "NOT IN", referring)
    columns, named = some_columns(rng, parent, 1, 2)
    text = f"{rng.choice(LEAD)} the {named} of {plural(parent.name)} without any {child.name}."
    return Draft(text, Query(tuple(expr(parent, column) for column in columns), parent.name, where=(condition,)))


def most_children(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The row that most rows of another table refer to."""
    child, parent, _, to_child = pick_link(rng, database)
    label = shown_columns(parent)[0]
    text = rng.choice(
        (
            f"Which {parent.name} has the most {plural(child.name)}?",
            f"What is the {label.name} of the {parent.name} with the most {plural(child.name)}?",
        )
    )
    shown = expr(parent, label)
    key = Ref(parent.name, "id")
    return Draft(text, Query((shown,), parent.name, (to_child,), group=key, order=COUNT, descending=True, limit=1))


def frequent_values(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The values of a category that more than a few rows share."""
    table = pick_table(rng, database)
    categories = table.of_kind(Kind.CATEGORY)
    if not categories:
        return None
    key = rng.choice(categories)
    least = rng.randint(1, 9)
    text = f"Which {key.name} values have more than {least} {plural(table.name)}?"
    having = Condition(COUNT, ">", least)
    return Draft(text, Query((expr(table, key),), table.name, group=expr(table, key).ref, having=having))


def common_value(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The value of a category that most rows share."""
    table = pick_table(rng, database)
    categories = table.of_kind(Kind.CATEGORY)
    if not categories:
        return None
    key = rng.choice(categories)
    most = rng.random() < 0.7
    text = f"What is the {'most' if most else 'least'} common {key.name} of {plural(table.name)}?"
    ref = expr(table, key).ref
    return Draft(text, Query((expr(table, key),), table.name, group=ref, order=COUNT, descending=most, limit=1))


def grouped_join(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A count or an aggregate of rows for each value of a category of their parent rows."""
    child, parent, to_parent, _ = pick_link(rng, database)
    categories, numbers = parent.of_kind(Kind.CATEGORY), child.of_kind(Kind.NUMBER)
    if not categories:
        return None
    key = rng.choice(categories)
    measure, named = COUNT, f"number of {plural(child.name)}"
    if numbers and rng.random() < 0.6:
        column, function = rng.choice(numbers), rng.choice(list(AGGREGATES))
        measure = expr(child, column, function)
        named = f"{rng.choice(AGGREGATES[function])} {column.name} of {plural(child.name)}"
    text = f"For each {parent.name} {key.name}, {rng.choice(LEAD).lower()} the {named}."
    items = (expr(parent, key), measure)
    return Draft(text, Query(items, child.name, (to_parent,), group=expr(parent, key).ref))


def extreme_parent(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A column of the parent of the row with the most extreme number."""
    child, parent, to_parent, _ = pick_link(rng, database)
    numbers = complete_numbers(child)
    if not numbers:
        return None
    column = rng.choice(numbers)
    descending = rng.random() < 0.5
    shown = rng.choice(shown_columns(parent))
    adjective = superlative(rng, column.attribute, descending) if column.attribute else ""
    extreme = "highest" if descending else "lowest"
    subject = f"the {adjective} {child.name}" if adjective else f"the {child.name} with the {extreme} {column.name}"
    text = f"What is the {shown.name} of the {parent.name} of {subject}?"
    order = expr(child, column)
    query = Query((expr(parent, shown),), child.name, (to_parent,), order=order, descending=descending, limit=1)
    return Draft(text, query)


def aggregate_of_parent(rng: random.Random, database: LabDatabase) -> Draft | None:
    """An aggregate of the rows whose parent row meets a condition."""
    child, parent, to_parent, _ = pick_link(rng, database)
    numbers, found = child.of_kind(Kind.NUMBER), pick_filter(rng, parent)
    if not numbers or found is None:
        return None
    column, function = rng.choice(numbers), rng.choice(list(AGGREGATES))
    named = f"{rng.choice(AGGREGATES[function])} {column.name}"
    text = f"What is the {named} of {plural(child.name)} of {found.phrase(plural(parent.name))}?"
    query = Query((expr(child, column, function),), child.name, (to_parent,), where=(found.condition,))
    return Draft(text, query, found.evidence)


def spread(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The difference between the highest and the lowest value of a number."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    found = pick_filter(rng, table) if rng.random() < 0.6 else None
    subject = found.phrase(plural(table.name)) if found else plural(table.name)
    text = f"What is the difference between the highest and the lowest {column.name} of {subject}?"
    lowest, ref = expr(table, column, "MIN"), Ref(table.name, column.name)
    query = Query((Expr(ref, "MAX", minus=lowest),), table.name, where=(found.condition,) if found else ())
    return Draft(text, query, found.evidence if found else "")
