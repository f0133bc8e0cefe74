"""Makes a schema fit a budget of characters: what a question is least about is left out, keys never are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Column, Schema, Table
from mats_sql.benchmark.schema_prompt import RetrievedValues, SchemaStyle, column_text, schema_text, table_head
from mats_sql.benchmark.words import tokenize

NAME_WEIGHT, VALUE_WEIGHT = 3, 2
"""Points for a word of the column's name and for a mentioned value; a word of its meaning or its table's name has 1."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FittedSchema:
    """A schema's text under a budget, and how many columns it lacks.

    The text exceeds the budget only where the keys alone do.
    """

    text: str
    columns_left_out: int = 0


def fit_schema(
    schema: Schema, question: Question, values: RetrievedValues, style: SchemaStyle, characters: int
) -> FittedSchema:
    """Return the schema's text with as many columns as fit into ``characters``, those nearest to the question first.

    A text that fits is not changed. Else every primary key and every column of a foreign key is kept, and the other
    columns are taken in the order of :func:`relevance`, equal ones in the schema's order, each whole or not at all; one
    that no longer fits is passed over for shorter ones. A table without any column is left out with its name. Columns
    keep the schema's order. Nothing but schema, question, evidence and the ``values`` that the question mentions is
    looked at.
    """
    whole = schema_text(schema, values, style)
    if len(whole) <= characters:
        return FittedSchema(whole)
    kept = _kept(schema, question, values, style, characters)
    shortened = _part(schema, kept)
    columns = sum(len(table.columns) for table in schema.tables)
    return FittedSchema(schema_text(shortened, values, style), columns - len(kept))


def relevance(table: Table, column: Column, words: frozenset[str], values: RetrievedValues) -> int:
    """Return how near a column is to a question with these words (:func:`question_words`).

    Three points per word that its name shares with question and evidence, two when a value of it is mentioned, one per
    word of its meaning and of its table's name. A name's words are parted at underscores and capitals, and a final
    ``s`` of a word counts for nothing.
    """
    mentioned = bool(values.get((table.name, column.name)))
    return (
        NAME_WEIGHT * len(_words(column.name) & words)
        + VALUE_WEIGHT * mentioned
        + len(_words(column.meaning) & words)
        + len(_words(table.name) & words)
    )


def question_words(question: Question) -> frozenset[str]:
    """Return the words of a question and its evidence that columns are compared with."""
    return _words(f"{question.text} {question.evidence}")


def _kept(
    schema: Schema, question: Question, values: RetrievedValues, style: SchemaStyle, characters: int
) -> set[_Place]:
    words = question_words(question)
    kept = set(_key_places(schema))
    tables = {table for table, _ in kept}
    left = characters - len(schema_text(_part(schema, kept), values, style))
    for place in sorted(
        (place for place in _places(schema) if place not in kept),
        key=lambda place: (-relevance(*_column(schema, place), words, values), place),
    ):
        table, column = _column(schema, place)
        cost = len(column_text(table, column, values, style)) + len("\n")
        if place[0] not in tables:
            cost += len(table_head(table)) + len("\n]")
        if cost <= left:
            left -= cost
            kept.add(place)
            tables.add(place[0])
    return kept


def _key_places(schema: Schema) -> Iterable[_Place]:
    foreign = {
        (table.casefold(), column.casefold())
        for key in schema.foreign_keys
        for table, column in ((key.table, key.column), (key.to_table, key.to_column))
    }
    for place in _places(schema):
        table, column = _column(schema, place)
        if column.primary_key or (table.name.casefold(), column.name.casefold()) in foreign:
            yield place


def _places(schema: Schema) -> Iterable[_Place]:
    return ((t, c) for t, table in enumerate(schema.tables) for c in range(len(table.columns)))


def _column(schema: Schema, place: _Place) -> tuple[Table, Column]:
    table = schema.tables[place[0]]
    return table, table.columns[place[1]]


def _part(schema: Schema, kept: set[_Place]) -> Schema:
    tables = (
        replace(table, columns=tuple(column for c, column in enumerate(table.columns) if (t, c) in kept))
        for t, table in enumerate(schema.tables)
    )
    return replace(schema, tables=tuple(table for table in tables if table.columns))


def _words(text: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") or word for word in tokenize(_CAMEL.sub(" ", text)))
