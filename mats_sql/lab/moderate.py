"""Families of moderate questions: two conditions, ordering, grouping, one join."""

from __future__ import annotations

import random

from mats_sql.lab.databases import LabColumn, LabDatabase, LabTable
from mats_sql.lab.draft import Draft, pick_filter, pick_link, pick_subject, pick_table, shown_columns
from mats_sql.lab.phrases import AGGREGATES, LEAD, aggregates, expr, plural, shown, superlative
from mats_sql.lab.query import Expr, Query, Ref
from mats_sql.lab.simple import known, some_columns
from mats_sql.lab.words import Kind

COUNT = Expr(None, "COUNT")
LINKED = ("linked to", "linked to", "assigned to")


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
    columns = [column for column in some_columns(rng, table, 2, 3)[0] if either or not second.fixes(column)]
    columns = [column for column in columns if either or not first.fixes(column)][:2]
    counted = not columns or rng.random() < 0.4
    items = (COUNT,) if counted else tuple(shown(table, column) for column in columns)
    named = " and ".join(column.word for column in columns)
    text = f"How many {subject} are there?" if counted else f"{rng.choice(LEAD)} the {named} of {subject}."
    query = Query(items, table.name, where=(first.condition, second.condition), either=either)
    return Draft(text, query, first.evidence or second.evidence)


def extreme_row(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A column of the row with the most extreme number, possibly among those that a filter keeps."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    descending = rng.random() < 0.5
    found = pick_filter(rng, table) if rng.random() < 0.5 else None
    if found is not None and found.reads(column):
        return None
    columns, named = some_columns(rng, table, 1, 2, found)
    adjective = superlative(rng, column.attribute, descending) if column.attribute else ""
    noun = found.phrase(table.name) if found and not (adjective and found.before) else table.name
    filtered = found is not None and noun != table.name
    where = ((found.condition,) if found and filtered else ()) + known(table, column, descending)
    subject = f"the {adjective} {noun}" if adjective else f"the {noun} with the {extreme(descending)} {column.word}"
    text = rng.choice((f"What is the {named} of {subject}?", f"{rng.choice(LEAD)} the {named} of {subject}."))
    items = tuple(shown(table, asked) for asked in columns)
    query = Query(items, table.name, where=where, order=expr(table, column), descending=descending, limit=1)
    return Draft(text, query, found.evidence if found and filtered else "")


def top_rows(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A column of the few rows with the most extreme numbers."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    descending = rng.random() < 0.5
    limit = rng.randint(2, 6)
    columns, named = some_columns(rng, table, 1, 2)
    adjective = superlative(rng, column.attribute, descending) if column.attribute else ""
    subject = (
        f"{limit} {adjective} {plural(table.name)}"
        if adjective
        else f"{limit} {plural(table.name)} with the {extreme(descending)} {column.word}"
    )
    items = tuple(shown(table, asked) for asked in columns)
    where = known(table, column, descending)
    query = Query(items, table.name, where=where, order=expr(table, column), descending=descending, limit=limit)
    return Draft(f"{rng.choice(LEAD)} the {named} of the {subject}.", query)


def group(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A count or an aggregate for each value of a category."""
    table = pick_table(rng, database)
    categories, numbers = table.of_kind(Kind.CATEGORY), table.of_kind(Kind.NUMBER)
    if not categories:
        return None
    key = rng.choice(categories)
    subject = pick_subject(rng, table, 0.3, key)
    if subject is None:
        return None
    if numbers and rng.random() < 0.5:
        column = rng.choice(numbers)
        if subject.kept is not None and subject.kept.reads(column):
            return None
        function = rng.choice(aggregates(column))
        measure = expr(table, column, function)
        named = f"{rng.choice(AGGREGATES[function])} {column.word}"
        text = rng.choice(
            (
                f"For each {key.word}, what is the {named} of {subject.named}?",
                f"{rng.choice(LEAD)} the {named} of {subject.named} per {key.word}.",
            )
        )
    else:
        measure = COUNT
        text = rng.choice(
            (
                f"How many {subject.named} are there for each {key.word}?",
                f"{rng.choice(LEAD)} the number of {subject.named} per {key.word}.",
            )
        )
    grouped = Ref(table.name, key.name)
    return Draft(
        text, Query((Expr(grouped), measure), table.name, where=subject.where, group=grouped), subject.evidence
    )


def of_linked(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Columns of the rows that are linked to rows meeting a condition: "albums linked to singers from France"."""
    seen = pick_link(rng, database)
    found = pick_filter(rng, seen.other)
    if found is None:
        return None
    columns, named = some_columns(rng, seen.table, 1, 2)
    text = f"{rng.choice(LEAD)} the {named} of {linked(rng, seen.table, found.phrase(plural(seen.other.name)))}."
    items = tuple(shown(seen.table, column) for column in columns)
    return Draft(text, Query(items, seen.table.name, (seen.join,), where=(found.condition,)), found.evidence)


def count_linked(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The number of rows that are linked to rows meeting a condition; each counts once."""
    seen = pick_link(rng, database)
    found = pick_filter(rng, seen.other)
    if found is None:
        return None
    subject = linked(rng, seen.table, found.phrase(plural(seen.other.name)))
    text = rng.choice((f"How many {subject} are there?", f"What is the number of {subject}?"))
    counted = Expr(Ref(seen.table.name, "id"), "COUNT", distinct=True) if seen.to_many else COUNT
    return Draft(text, Query((counted,), seen.table.name, (seen.join,), where=(found.condition,)), found.evidence)


def side_by_side(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A column of each row that a filter keeps, beside a column of the row it is linked to."""
    seen = pick_link(rng, database)
    found = pick_filter(rng, seen.table)
    if found is None:
        return None
    left = [column for column in shown_columns(seen.table) if not found.fixes(column)]
    first, second = rng.choice(left), rng.choice(shown_columns(seen.other))
    subject = found.phrase(plural(seen.table.name))
    text = (
        f"{rng.choice(LEAD)} the {first.word} of {subject} together with the {second.word} of the linked "
        f"{seen.other.name}."
    )
    items = (shown(seen.table, first), shown(seen.other, second))
    return Draft(text, Query(items, seen.table.name, (seen.join,), where=(found.condition,)), found.evidence)


def linked(rng: random.Random, table: LabTable, others: str) -> str:
    """Return the phrase for a table's rows that are linked to others."""
    return f"{plural(table.name)} {rng.choice(LINKED)} {others}"


def extreme(descending: bool) -> str:
    """Return the word for either end of an order."""
    return "highest" if descending else "lowest"


def named_extreme(rng: random.Random, table: LabTable, column: LabColumn, descending: bool) -> str:
    """Return a phrase for the row at one end of an order: "the oldest singer"."""
    adjective = superlative(rng, column.attribute, descending) if column.attribute else ""
    return (
        f"the {adjective} {table.name}"
        if adjective
        else f"the {table.name} with the {extreme(descending)} {column.word}"
    )
