"""Filters with the noun phrases that express them: "jazz albums", "singers older than 50", "veteran singers"."""

from __future__ import annotations

import random
from dataclasses import dataclass

from mats_sql.lab import words
from mats_sql.lab.databases import LabColumn, LabTable
from mats_sql.lab.query import Condition, Expr, Literal, Ref
from mats_sql.lab.words import Attribute, Kind

LEAD = ("List", "Show", "Give", "Find", "Return")
AGGREGATES = {
    "AVG": ("average", "mean"),
    "SUM": ("total", "combined"),
    "MIN": ("lowest", "minimum"),
    "MAX": ("highest", "maximum"),
}

_ABOVE = {">": ("above", "over", "greater than", "more than"), ">=": ("of at least",)}
_BELOW = {"<": ("below", "under", "less than"), "<=": ("of at most",)}


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a table and how English says it: ``before`` and ``after`` stand around the noun."""

    condition: Condition
    before: str = ""
    after: str = ""
    evidence: str = ""

    def reads(self, column: LabColumn) -> bool:
        """Whether the filter is on the column of that name."""
        return any(ref.column == column.name for ref in self.condition.expr.refs())

    def fixes(self, column: LabColumn) -> bool:
        """Whether the filter leaves the column of that name only one value."""
        return self.reads(column) and self.condition.operator in ("=", "IS NULL")

    def phrase(self, noun: str) -> str:
        """Return the noun with the filter around it."""
        return " ".join(part for part in (self.before, noun, self.after) if part)


def random_filter(rng: random.Random, table: LabTable) -> Filter | None:
    """Return a random filter on one column of the table, or ``None`` when the draw does not fit the table."""
    kinds = (_category, _number, _code, _term, _missing, _between)
    make = rng.choices(kinds, (46, 22, 12, 9, 5, 6))[0]
    return make(rng, table)


def plural(noun: str) -> str:
    """Return the plural of an entity's name (all are regular, see ``words``)."""
    return noun + "s"


def expr(table: LabTable, column: LabColumn, function: str = "") -> Expr:
    """Return a column, read as a number where it is one, or an aggregate of it, as an expression."""
    return Expr(Ref(table.name, column.name), function, cast=column.cast)


def shown(table: LabTable, column: LabColumn) -> Expr:
    """Return a column as it is stored."""
    return Expr(Ref(table.name, column.name))


def aggregates(column: LabColumn) -> list[str]:
    """Return the aggregates of a number that mean something."""
    return [name for name in AGGREGATES if name != "SUM" or column.word not in words.NOT_SUMMED]


def _category(rng: random.Random, table: LabTable) -> Filter | None:
    column, value = _pick(rng, table, Kind.CATEGORY)
    if column is None or column.attribute is None:
        return None
    attribute, said = column.attribute, column.said(value)
    condition = Condition(shown(table, column), "=", value)
    if attribute.preposition and rng.random() < 0.8:
        return Filter(condition, after=f"{attribute.preposition} {said}")
    if not attribute.preposition and rng.random() < 0.6:
        return Filter(condition, before=str(said))
    if rng.random() < 0.15:
        return Filter(Condition(condition.expr, "!=", value), after=f"whose {column.word} is not {said}")
    return Filter(condition, after=rng.choice((f"whose {column.word} is {said}", f"with {column.word} {said}")))


def _number(rng: random.Random, table: LabTable) -> Filter | None:
    column, value = _pick(rng, table, Kind.NUMBER)
    if column is None or column.attribute is None:
        return None
    attribute, said = column.attribute, column.said(value)
    up = rng.random() < 0.5
    short = attribute.above if up else attribute.below
    if short and " " in short and rng.random() < 0.6:
        return Filter(Condition(expr(table, column), ">" if up else "<", said), after=f"{short} {said}")
    operator, comparisons = rng.choice(list((_ABOVE if up else _BELOW).items()))
    comparison = rng.choice(comparisons)
    return Filter(Condition(expr(table, column), operator, said), after=f"with {column.word} {comparison} {said}")


def _between(rng: random.Random, table: LabTable) -> Filter | None:
    column, value = _pick(rng, table, Kind.NUMBER)
    if column is None:
        return None
    other = rng.choice([value for value in table.values(column) if value is not None])
    low, high = column.said(value), column.said(other)
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or low == high:
        return None
    low, high = sorted((low, high))
    condition = Condition(expr(table, column), "BETWEEN", (low, high))
    return Filter(condition, after=f"with {column.word} between {low} and {high}")


def _code(rng: random.Random, table: LabTable) -> Filter | None:
    coded = table.of_kind(Kind.CODE)
    if not coded:
        return None
    word, letter = rng.choice(coded[0].codes)
    condition = Condition(shown(table, coded[0]), "=", letter)
    return Filter(condition, after=f"that are {word}") if rng.random() < 0.3 else Filter(condition, before=word)


def _term(rng: random.Random, table: LabTable) -> Filter | None:
    """A word that only the evidence defines, by a bound on a number."""
    column, value = _pick(rng, table, Kind.NUMBER)
    if column is None:
        return None
    condition = Condition(expr(table, column), rng.choice((">", "<", ">=", "<=")), column.said(value))
    term = rng.choice(words.TERMS)
    return Filter(condition, before=term, evidence=f"{term} refers to {_spoken_condition(column, condition)}")


def _spoken_condition(column: LabColumn, condition: Condition) -> str:
    """Return a condition as evidence words it: in the question's words, which need not be the schema's."""
    return f"{column.word} {condition.operator} {condition.value}"


def _missing(rng: random.Random, table: LabTable) -> Filter | None:
    holed = [column for column in table.columns if None in table.values(column)]
    if not holed:
        return None
    column = rng.choice(holed)
    if rng.random() < 0.6:
        return Filter(Condition(shown(table, column), "IS NULL"), after=f"without a {column.word}")
    return Filter(Condition(shown(table, column), "IS NOT NULL"), after=f"with a known {column.word}")


def _pick(rng: random.Random, table: LabTable, kind: Kind) -> tuple[LabColumn | None, Literal]:
    columns = table.of_kind(kind)
    if not columns:
        return None, 0
    column = rng.choice(columns)
    return column, rng.choice([value for value in table.values(column) if value is not None])


def superlative(rng: random.Random, attribute: Attribute, descending: bool) -> str:
    """Return a superlative adjective for a number, or an empty string when the word lists have none."""
    word = attribute.most if descending else attribute.least
    return word if word and rng.random() < 0.7 else ""
