"""The planner: question in, short structured plan ending in a SQL query out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mats_sql.agents.messages import Messages, user
from mats_sql.agents.review import question_lines
from mats_sql.benchmark import Question
from mats_sql.sql import extract_sql

PROMPT_VERSION = "planner-1"

_FINAL = re.compile(r"\bfinal\s+sql(?:\s+query)?[*_#`]*\s*:[*_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    """The planner's text and the SQL it ends in (``None`` when there is none)."""

    text: str
    sql: str | None


def planner_messages(question: Question, schema_text: str) -> Messages:
    """Return the planner's prompt."""
    return user(f"{question_lines(schema_text, question)}\n\nPlanning:")


def planner_answer(goal: str, condition: str, tables: str, sql: str) -> str:
    """Return a plan in the format that the planner is trained to write."""
    return (
        f"Goal to select: {goal}\nCondition: {condition}\nTables to use: {tables}\nFinal SQL query:\n```sql\n{sql}\n```"
    )


def parse_plan(text: str) -> Plan:
    """Read a plan; tolerant of missing sections, fences and prose.

    The SQL is looked for after the last ``Final SQL query:``, so that a plan cut off before it has none.
    """
    headings = list(_FINAL.finditer(text))
    return Plan(text, extract_sql(text[headings[-1].end() :] if headings else text))
