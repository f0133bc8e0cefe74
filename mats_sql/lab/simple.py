"""Families of simple questions: one table, at most one condition."""

from __future__ import annotations

import random

from mats_sql.lab.databases import LabColumn, LabDatabase, LabTable
from mats_sql.lab.draft import Draft, pick_filter, pick_subject, pick_table, shown_columns
from mats_sql.lab.phrases import AGGREGATES, LEAD, Filter, aggregates, expr, plural, shown
from mats_sql.lab.query import Condition, Expr, Query, Ref
from mats_sql.lab.words import Kind


def list_columns(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Every row's value of two or three columns."""
    table = pick_table(rng, database)
    columns, named = some_columns(rng, table, 2, 3)
    text = rng.choice(
        (
            f"{rng.choice(LEAD)} the {named} of all {plural(table.name)}.",
            f"{rng.choice(LEAD)} the {named} of every {table.name}.",
            f"What {_verb(columns)} the {named} of each {table.name}?",
        )
    )
    return Draft(text, Query(tuple(shown(table, column) for column in columns), table.name))


def list_filtered(rng: random.Random, database: LabDatabase) -> Draft | None:
    """One or two columns of the rows that a filter keeps."""
    table = pick_table(rng, database)
    found = pick_filter(rng, table)
    if found is None:
        return None
    columns, named = some_columns(rng, table, 1, 2, found)
    subject = found.phrase(plural(table.name))
    text = rng.choice(
        (
            f"{rng.choice(LEAD)} the {named} of {subject}.",
            f"What {_verb(columns)} the {named} of {subject}?",
            f"For {subject}, {rng.choice(LEAD).lower()} the {named}.",
        )
    )
    items = tuple(shown(table, column) for column in columns)
    return Draft(text, Query(items, table.name, where=(found.condition,)), found.evidence)


def count_filtered(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The number of rows that a filter keeps."""
    table = pick_table(rng, database)
    found = pick_filter(rng, table)
    if found is None:
        return None
    subject = found.phrase(plural(table.name))
    text = rng.choice((f"How many {subject} are there?", f"Count the {subject}.", f"What is the number of {subject}?"))
    return Draft(text, Query((Expr(None, "COUNT"),), table.name, where=(found.condition,)), found.evidence)


def aggregate(rng: random.Random, database: LabDatabase) -> Draft | None:
    """An aggregate of a number column, over all rows or those that a filter on another column keeps."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    function = rng.choice(aggregates(column))
    name = rng.choice(AGGREGATES[function])
    subject = pick_subject(rng, table, 0.8, column)
    if subject is None:
        return None
    rows = subject.named if subject.kept else f"all {subject.named}"
    text = rng.choice(
        (
            f"What is the {name} {column.word} of {rows}?",
            f"{rng.choice(LEAD)} the {name} {column.word} of {rows}.",
            f"For {rows}, what is the {name} {column.word}?",
        )
    )
    query = Query((expr(table, column, function),), table.name, where=subject.where)
    return Draft(text, query, subject.evidence)


def distinct_values(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The different values of a category, listed or counted."""
    table = pick_table(rng, database)
    categories = table.of_kind(Kind.CATEGORY)
    if not categories:
        return None
    column = rng.choice(categories)
    if rng.random() < 0.5:
        text = f"How many different {column.word} values do {plural(table.name)} have?"
        counted = Expr(Ref(table.name, column.name), "COUNT", distinct=True)
        return Draft(text, Query((counted,), table.name))
    text = f"{rng.choice(LEAD)} the different {column.word} values of {plural(table.name)}."
    return Draft(text, Query((shown(table, column),), table.name, distinct=True))


def lookup(rng: random.Random, database: LabDatabase) -> Draft | None:
    """One or two columns of the row with a given label."""
    table = pick_table(rng, database)
    label, *others = shown_columns(table)
    if not others:
        return None
    value = rng.choice(table.values(label))
    columns = rng.sample(others, min(len(others), rng.choice((1, 1, 2))))
    named = " and ".join(column.word for column in columns)
    text = rng.choice(
        (
            f"What is the {named} of the {table.name} {value}?",
            f"{rng.choice(LEAD)} the {named} of {value}.",
            f"{rng.choice(LEAD)} the {named} of the {table.name} called {value}.",
        )
    )
    where = (Condition(shown(table, label), "=", value),)
    return Draft(text, Query(tuple(shown(table, column) for column in columns), table.name, where=where))


def top_one(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The label of the row with the highest or lowest value of a number."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    descending = rng.random() < 0.5
    label = shown_columns(table)[0]
    text = f"Which {table.name} has the {'highest' if descending else 'lowest'} {column.word}?"
    where = known(table, column, descending)
    order = expr(table, column)
    query = Query((shown(table, label),), table.name, where=where, order=order, descending=descending, limit=1)
    return Draft(text, query)


def known(table: LabTable, column: LabColumn, descending: bool) -> tuple[Condition, ...]:
    """Return the condition that keeps missing values from being the lowest."""
    if descending or None not in table.values(column):
        return ()
    return (Condition(shown(table, column), "IS NOT NULL"),)


def some_columns(
    rng: random.Random, table: LabTable, low: int, high: int, found: Filter | None = None
) -> tuple[list[LabColumn], str]:
    """Return random columns a question may ask for, and their names as English joins them.

    None is one that the filter makes constant.
    """
    columns = [column for column in shown_columns(table) if found is None or not found.fixes(column)]
    chosen = rng.sample(columns, min(len(columns), rng.randint(low, high)))
    return chosen, " and ".join(column.word for column in chosen)


def _verb(columns: list[LabColumn]) -> str:
    return "is" if len(columns) == 1 else "are"
