"""The prompts and answers that docs/agents.md shows are the ones the code writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mats_sql.agents.critique import Validator
from mats_sql.agents.fixer import feedback_text, fixer_messages
from mats_sql.agents.planner import planner_messages
from mats_sql.agents.review import Review, response_text
from mats_sql.agents.selector import selector_messages
from mats_sql.agents.validators import VALIDATOR_MESSAGES
from mats_sql.agents.versions import PROMPT_VERSIONS
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
from mats_sql.benchmark.schema_prompt import SchemaStyle, schema_text
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.sandbox.nearest import Nearest
from mats_sql.teaching.teacher import write_critique, write_plan

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "agents.md"
SCHEMA = Schema(
    "music",
    (
        Table("singer", (Column("id", "integer", True), Column("name", "text"), Column("age", "integer"))),
        Table("concert", (Column("id", "integer", True), Column("singer_id", "integer"), Column("city", "text"))),
    ),
    (ForeignKey("concert", "singer_id", "singer", "id"),),
)
QUESTION = Question(1, "music", "Which young singers performed in Oslo?", "young refers to age < 30")
GOLD = (
    "SELECT T1.name FROM singer AS T1 JOIN concert AS T2 ON T1.id = T2.singer_id WHERE T2.city = 'Oslo' AND T1.age < 30"
)
WRONG = "SELECT name FROM singer WHERE age < 30"


def _examples() -> dict[str, str]:
    text = schema_text(SCHEMA, {("concert", "city"): ["Oslo"]}, SchemaStyle())
    response = response_text(Execution(Outcome.ROWS, ("name",), (("Ann",), ("Bo",)), 2))
    review = Review(QUESTION, text, WRONG, response)
    critiques = [write_critique(validator, WRONG, GOLD, SCHEMA) for validator in Validator]
    return {
        "planner prompt": planner_messages(QUESTION, text)[0].content,
        "planner answer": write_plan(GOLD, SCHEMA),
        "select validator prompt": VALIDATOR_MESSAGES[Validator.SELECT](review)[0].content,
        "select validator answer": critiques[0].text,
        "condition validator answer": critiques[1].text,
        "fixer prompt": fixer_messages(review, feedback_text(critiques))[0].content,
        "fixer answer": GOLD,
        "response": response_text(Execution(Outcome.EMPTY, nearest=(Nearest("concert", "city", "oslo", ("Oslo",)),))),
        "selector prompt": selector_messages(review, critiques)[0].content,
    }


@pytest.mark.parametrize(("name", "text"), _examples().items())
def test_the_page_shows_the_exact_text(name: str, text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = text.removeprefix(schema_text(SCHEMA, {("concert", "city"): ["Oslo"]}, SchemaStyle()) + "\n\n")
    assert f"````text\n{shown}\n````" in page, f"docs/agents.md must show the {name}:\n{shown}"


def test_the_page_names_every_prompt_version() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [version for version in PROMPT_VERSIONS.values() if f"`{version}`" not in page] == []


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []
