"""The teacher: plans and critiques for supervised training, written by someone who sees the gold SQL.

The one module of the agents that may hold gold text. The rule-based teacher compares syntax trees; a critique names
what the SQL does and what the gold does, so that a fixer that reads critiques has something to use.
"""

from __future__ import annotations

from mats_sql.agents.critique import Critique, Validator, Verdict, critique_answer
from mats_sql.agents.outline.outline import Outline, outline
from mats_sql.agents.planner import planner_answer
from mats_sql.benchmark.schema import Schema
from mats_sql.benchmark.schema_text import quote_name

UNREADABLE = "nothing readable"


def write_plan(gold_sql: str, schema: Schema) -> str:
    """Return the plan whose SQL is the gold SQL, word for word."""
    found = outline(gold_sql, schema)
    sql = gold_sql.strip().removesuffix(";").rstrip()
    if found is None:
        return planner_answer(UNREADABLE, UNREADABLE, UNREADABLE, sql)
    tables = ", ".join(quote_name(name) for name in found.tables) or "none"
    return planner_answer(found.selects, found.condition, tables, sql)


def write_critique(validator: Validator, sql: str, gold_sql: str, schema: Schema) -> Critique:
    """Return what a validator should say about a SQL: what it does, what the gold does, and whether they agree."""
    found, wanted = outline(sql, schema), outline(gold_sql, schema)
    correct = _agree(validator, found, wanted) if found and wanted else _words(sql) == _words(gold_sql)
    text = critique_answer(validator, _shown(validator, found), _shown(validator, wanted), correct=correct)
    return Critique(validator, text, Verdict.CORRECT if correct else Verdict.INCORRECT)


def _agree(validator: Validator, found: Outline, wanted: Outline) -> bool:
    if validator is Validator.SELECT:
        return found.selects == wanted.selects or found.select_key == wanted.select_key
    return found.keeps == wanted.keeps or found.condition_key == wanted.condition_key


def _shown(validator: Validator, found: Outline | None) -> str:
    if found is None:
        return UNREADABLE
    return found.selects if validator is Validator.SELECT else found.keeps


def _words(sql: str) -> list[str]:
    return sql.strip().removesuffix(";").split()
