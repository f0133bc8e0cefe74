"""A SQL under review: what validators, fixer and selector are told about it, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.benchmark import Question, quote_name
from mats_sql.sql import Execution, Outcome, Value

MAX_CELL_CHARACTERS = 40
MAX_ERROR_CHARACTERS = 160
MAX_TRIED_CHARACTERS = 1000
"""A SQL with the nearest names that is longer is not shown: the prompt has its like already."""


@dataclass(frozen=True, slots=True)
class Review:
    """A question, its schema text, the SQL under review and the text of that SQL's own execution response."""

    question: Question
    schema_text: str
    sql: str
    response: str


def response_text(execution: Execution, *, max_rows: int = 3) -> str:
    """Return what an agent is shown of an execution: a few rows and their number, or the error.

    Behind the rows or the error stands, for each literal that no row has, what is stored in its place. Behind an error
    that a nearest name mends stands what the SQL answers with that name, and at the end the SQL with all such names.
    """
    if execution.outcome is Outcome.EMPTY:
        return "no rows" + _nearest_text(execution)
    if execution.outcome is Outcome.ROWS:
        rows = " ; ".join(" , ".join(_cell(value) for value in row) for row in execution.preview[:max_rows])
        return f"{execution.row_count} rows : {rows}{_nearest_text(execution)}"
    if execution.outcome is Outcome.ERROR:
        error = f"error : {execution.error[:MAX_ERROR_CHARACTERS]}"
        if (retried := execution.retried) is not None:
            tried = _tried_text(execution.tried) if retried.retried is None else ""
            return f"{error} , with it {response_text(retried, max_rows=max_rows)}{tried}"
        return error + _nearest_text(execution)
    return execution.outcome.value.replace("_", " ")


def review_lines(review: Review) -> str:
    """Return the part of a prompt that validators, fixer and selector share."""
    return (
        f"{question_lines(review.schema_text, review.question)}\n\n"
        f"Generated SQL query: {review.sql}\nExecution response: {review.response}"
    )


def question_lines(schema_text: str, question: Question) -> str:
    """Return schema, question and evidence, in the order every agent sees them."""
    return f"{schema_text}\n\nQuestion: {question.text}\nExternal knowledge: {question.evidence or 'none'}"


def _tried_text(sql: str) -> str:
    return f" ; query : {' '.join(sql.split())}" if len(sql) <= MAX_TRIED_CHARACTERS else ""


def _nearest_text(execution: Execution) -> str:
    return "".join(
        f" ; {quote_name(found.table)}.{quote_name(found.column)} has no {_literal(found.literal)} , "
        f"nearest {' , '.join(map(_literal, found.values))}"
        for found in execution.nearest
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _cell(value: Value) -> str:
    text = "NULL" if value is None else str(value)
    return text if len(text) <= MAX_CELL_CHARACTERS else text[:MAX_CELL_CHARACTERS] + "…"
