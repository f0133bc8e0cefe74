"""Families of challenging questions: formulas, three tables, nested queries, groups over joins, ties."""

from __future__ import annotations

import random
from dataclasses import replace

from mats_sql.lab import words
from mats_sql.lab.databases import LabDatabase
from mats_sql.lab.draft import (
    Draft,
    pick_chain,
    pick_filter,
    pick_link,
    pick_subject,
    pick_table,
    plain_numbers,
    see,
    shown_columns,
)
from mats_sql.lab.moderate import COUNT, extreme, linked, named_extreme
from mats_sql.lab.phrases import AGGREGATES, LEAD, aggregates, expr, plural, shown
from mats_sql.lab.query import Condition, Expr, Query, Ref
from mats_sql.lab.simple import known, some_columns
from mats_sql.lab.words import Kind


def beyond_average(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Rows above or below the average of all rows, or of those that a filter keeps."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    above = rng.random() < 0.5
    found = pick_filter(rng, table) if rng.random() < 0.5 else None
    if found is not None and found.reads(column):
        return None
    kept = (found.condition,) if found else ()
    average = Query((expr(table, column, "AVG"),), table.name, where=kept)
    condition = Condition(expr(table, column), ">" if above else "<", average)
    side = "above" if above else "below"
    of = f" of {found.phrase(plural(table.name))}" if found else ""
    subject = f"{plural(table.name)} with {column.word} {side} the average{of}"
    columns, named = some_columns(rng, table, 1, 2)
    counted = rng.random() < 0.3
    items = (COUNT,) if counted else tuple(shown(table, asked) for asked in columns)
    text = f"How many {subject} are there?" if counted else f"{rng.choice(LEAD)} the {named} of {subject}."
    return Draft(text, Query(items, table.name, where=(condition,)), found.evidence if found else "")


def without_linked(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Rows that no row of another table refers to."""
    seen = see(database, rng.choice(database.links), False)
    referring = Query((Expr(seen.join.right),), seen.other.name)
    condition = Condition(Expr(seen.near), "NOT IN", referring)
    columns, named = some_columns(rng, seen.table, 1, 2)
    text = f"{rng.choice(LEAD)} the {named} of {plural(seen.table.name)} without any linked {seen.other.name}."
    return Draft(
        text, Query(tuple(shown(seen.table, column) for column in columns), seen.table.name, where=(condition,))
    )


def most_linked(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The row that most rows of another table, or most of those that a filter keeps, refer to."""
    seen = see(database, rng.choice(database.links), False)
    found = pick_filter(rng, seen.other) if rng.random() < 0.5 else None
    others = found.phrase(plural(seen.other.name)) if found else plural(seen.other.name)
    label = shown_columns(seen.table)[0]
    text = rng.choice(
        (
            f"Which {seen.table.name} has the most linked {others}?",
            f"What is the {label.word} of the {seen.table.name} with the most linked {others}?",
        )
    )
    query = Query(
        (shown(seen.table, label),),
        seen.table.name,
        (seen.join,),
        where=(found.condition,) if found else (),
        group=seen.near,
        order=COUNT,
        descending=True,
        limit=1,
    )
    return Draft(text, query, found.evidence if found else "")


def count_each(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Every row with the number of rows that refer to it, also where there is none."""
    seen = see(database, rng.choice(database.links), False)
    label = shown_columns(seen.table)[0]
    text = (
        f"For each {seen.table.name}, {rng.choice(LEAD).lower()} the {label.word} and the number of linked "
        f"{plural(seen.other.name)}, those with none included."
    )
    items = (shown(seen.table, label), Expr(Ref(seen.other.name, "id"), "COUNT"))
    return Draft(text, Query(items, seen.table.name, (replace(seen.join, outer=True),), group=seen.near))


def frequent_values(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The values of a category that more than a few rows share, possibly among those that a filter keeps."""
    table = pick_table(rng, database)
    categories = table.of_kind(Kind.CATEGORY)
    if not categories:
        return None
    key = rng.choice(categories)
    subject = pick_subject(rng, table, 0.5, key)
    if subject is None:
        return None
    least = rng.randint(1, 9)
    text = f"Which {key.word} values have more than {least} {subject.named}?"
    grouped = Ref(table.name, key.name)
    having = Condition(COUNT, ">", least)
    query = Query((Expr(grouped),), table.name, where=subject.where, group=grouped, having=having)
    return Draft(text, query, subject.evidence)


def common_value(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The value of a category that most rows, of those that a filter keeps, share."""
    table = pick_table(rng, database)
    categories = table.of_kind(Kind.CATEGORY)
    if not categories:
        return None
    key = rng.choice(categories)
    subject = pick_subject(rng, table, 0.6, key)
    if subject is None:
        return None
    most = rng.random() < 0.7
    text = f"What is the {'most' if most else 'least'} common {key.word} of {subject.named}?"
    grouped, where = Ref(table.name, key.name), subject.where
    query = Query((Expr(grouped),), table.name, where=where, group=grouped, order=COUNT, descending=most, limit=1)
    return Draft(text, query, subject.evidence)


def grouped_join(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A count or an aggregate of rows for each value of a category of the rows they are linked to."""
    seen = see(database, rng.choice(database.links), True)
    categories, numbers = seen.other.of_kind(Kind.CATEGORY), seen.table.of_kind(Kind.NUMBER)
    if not categories:
        return None
    key = rng.choice(categories)
    measure, named = COUNT, f"number of {plural(seen.table.name)}"
    if numbers and rng.random() < 0.6:
        column = rng.choice(numbers)
        function = rng.choice(aggregates(column))
        measure = expr(seen.table, column, function)
        named = f"{rng.choice(AGGREGATES[function])} {column.word} of {plural(seen.table.name)}"
    text = f"For each {key.word} of the linked {seen.other.name}, {rng.choice(LEAD).lower()} the {named}."
    grouped = Ref(seen.other.name, key.name)
    return Draft(text, Query((Expr(grouped), measure), seen.table.name, (seen.join,), group=grouped))


def extreme_linked(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A column of the row linked to the row with the most extreme number, of those that a filter keeps."""
    seen = pick_link(rng, database)
    numbers = seen.other.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    descending = rng.random() < 0.5
    found = pick_filter(rng, seen.table) if rng.random() < 0.4 else None
    asked = [c for c in shown_columns(seen.table) if found is None or not found.fixes(c)]
    answer = rng.choice(asked)
    subject = named_extreme(rng, seen.other, column, descending)
    owner = found.phrase(seen.table.name) if found else seen.table.name
    text = f"What is the {answer.word} of the {owner} linked to {subject}?"
    where = ((found.condition,) if found else ()) + known(seen.other, column, descending)
    query = Query(
        (shown(seen.table, answer),),
        seen.table.name,
        (seen.join,),
        where=where,
        order=expr(seen.other, column),
        descending=descending,
        limit=1,
    )
    return Draft(text, query, found.evidence if found else "")


def aggregate_linked(rng: random.Random, database: LabDatabase) -> Draft | None:
    """An aggregate of the rows that are linked to rows meeting a condition."""
    seen = see(database, rng.choice(database.links), True)
    numbers, found = seen.table.of_kind(Kind.NUMBER), pick_filter(rng, seen.other)
    if not numbers or found is None:
        return None
    column = rng.choice(numbers)
    function = rng.choice(aggregates(column))
    named = f"{rng.choice(AGGREGATES[function])} {column.word}"
    text = f"What is the {named} of {linked(rng, seen.table, found.phrase(plural(seen.other.name)))}?"
    query = Query((expr(seen.table, column, function),), seen.table.name, (seen.join,), where=(found.condition,))
    return Draft(text, query, found.evidence)


def three_tables(rng: random.Random, database: LabDatabase) -> Draft | None:
    """Rows linked to rows that are linked to rows meeting a condition."""
    chain = pick_chain(rng, database)
    if chain is None:
        return None
    first, second = chain
    found = pick_filter(rng, second.other)
    if found is None:
        return None
    columns, named = some_columns(rng, first.table, 1, 2)
    subject = linked(rng, first.table, linked(rng, second.table, found.phrase(plural(second.other.name))))
    counted = rng.random() < 0.35
    to_many = first.to_many or second.to_many
    count = Expr(Ref(first.table.name, "id"), "COUNT", distinct=True) if to_many else COUNT
    items = (count,) if counted else tuple(shown(first.table, column) for column in columns)
    text = f"How many {subject} are there?" if counted else f"{rng.choice(LEAD)} the {named} of {subject}."
    query = Query(items, first.table.name, (first.join, second.join), where=(found.condition,))
    return Draft(text, query, found.evidence)


def percentage(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The percentage of the rows, of those that a filter keeps, that meet a condition."""
    table = pick_table(rng, database)
    part = pick_filter(rng, table)
    whole = pick_filter(rng, table) if rng.random() < 0.35 else None
    if part is None or part.evidence:
        return None
    if whole is not None and (whole.evidence or whole.condition.expr.ref == part.condition.expr.ref):
        return None
    group = whole.phrase(plural(table.name)) if whole else f"{plural(table.name)}"
    subject = part.phrase(plural(table.name))
    text = f"What percentage of {group} are {subject}?"
    counted = Expr(None, "SUM", case=part.condition, over=COUNT, percent=True)
    where = (whole.condition,) if whole else ()
    evidence = f"percentage refers to count of {subject} * 100 / count of all"
    return Draft(text, Query((counted,), table.name, where=where), evidence)


def formula(rng: random.Random, database: LabDatabase) -> Draft | None:
    """A quotient or a difference of two columns that the evidence defines: of one row, averaged, or at its extreme."""
    table = pick_table(rng, database)
    numbers = [column for column in plain_numbers(table) if column.word not in words.NOT_SUMMED]
    if len(numbers) < 2:
        return None
    left, right = rng.sample(numbers, 2)
    if 0 in table.values(right) or left.twin == right.name:
        return None
    quotient = rng.random() < 0.5
    one, other = shown(table, left), shown(table, right)
    measure = replace(one, over=other) if quotient else replace(one, minus=other)
    name = rng.choice(words.MEASURES)
    evidence = f"{name} refers to {left.word} {'divided by' if quotient else '-'} {right.word}"
    label = shown_columns(table)[0]
    if rng.random() < 0.5:
        value = rng.choice(table.values(label))
        text = f"What is the {name} of the {table.name} {value}?"
        where = (Condition(shown(table, label), "=", value),)
        return Draft(text, Query((measure,), table.name, where=where), evidence)
    descending = rng.random() < 0.5
    text = f"What is the {label.word} of the {table.name} with the {extreme(descending)} {name}?"
    query = Query((shown(table, label),), table.name, order=measure, descending=descending, limit=1)
    return Draft(text, query, evidence)


def count_difference(rng: random.Random, database: LabDatabase) -> Draft | None:
    """How many more rows have one value of a category than have another."""
    table = pick_table(rng, database)
    categories = table.of_kind(Kind.CATEGORY)
    if not categories:
        return None
    key = rng.choice(categories)
    values = sorted({value for value in table.values(key) if value is not None}, key=str)
    if len(values) < 2:
        return None
    held = table.values(key)
    one, other = sorted(rng.sample(values, 2), key=held.count, reverse=True)
    text = f"How many more {plural(table.name)} have {key.word} {key.said(one)} than {key.word} {key.said(other)}?"
    counts = [Expr(None, "SUM", case=Condition(shown(table, key), "=", value)) for value in (one, other)]
    return Draft(text, Query((replace(counts[0], minus=counts[1]),), table.name))


def tied_rows(rng: random.Random, database: LabDatabase) -> Draft | None:
    """All rows that share the most extreme number, of those that a filter keeps."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    subject = pick_subject(rng, table, 0.6, column)
    if subject is None:
        return None
    highest = rng.random() < 0.5
    best = Query((expr(table, column, "MAX" if highest else "MIN"),), table.name, where=subject.where)
    columns, named = some_columns(rng, table, 1, 2, subject.kept)
    rows = f"all {subject.named} that have the {extreme(highest)} {column.word}{' among them' if subject.kept else ''}"
    items = tuple(shown(table, asked) for asked in columns)
    query = Query(items, table.name, where=(Condition(expr(table, column), "=", best), *subject.where))
    return Draft(f"{rng.choice(LEAD)} the {named} of {rows}.", query, subject.evidence)


def spread(rng: random.Random, database: LabDatabase) -> Draft | None:
    """The difference between the highest and the lowest value of a number."""
    table = pick_table(rng, database)
    numbers = table.of_kind(Kind.NUMBER)
    if not numbers:
        return None
    column = rng.choice(numbers)
    subject = pick_subject(rng, table, 0.7, column)
    if subject is None:
        return None
    text = f"What is the difference between the highest and the lowest {column.word} of {subject.named}?"
    difference = replace(expr(table, column, "MAX"), minus=expr(table, column, "MIN"))
    return Draft(text, Query((difference,), table.name, where=subject.where), subject.evidence)
