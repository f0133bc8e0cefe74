"""Prompts are made without gold: by import, by type, and byte for byte."""

from __future__ import annotations

import ast
import dataclasses
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mats_sql
from mats_sql.agents.critique import Critique, Validator, Verdict
from mats_sql.agents.fixer import feedback_text, fixer_messages
from mats_sql.agents.messages import Messages
from mats_sql.agents.planner import planner_messages
from mats_sql.agents.review import Review, response_text
from mats_sql.agents.selector import selector_messages
from mats_sql.agents.validators import VALIDATOR_MESSAGES
from mats_sql.benchmark.benchmark import Benchmark
from mats_sql.benchmark.prompts import SchemaTexts
from mats_sql.benchmark.question import Gold, Question
from mats_sql.benchmark.schema import Schema
from mats_sql.config import BenchmarkSettings
from mats_sql.sql.execution import Execution, Outcome

PACKAGE = Path(mats_sql.__file__).parent
BLIND = [*sorted((PACKAGE / "agents").rglob("*.py")), *sorted((PACKAGE / "team").rglob("*.py"))]
FORBIDDEN_MODULES = (
    "mats_sql.sql.judge",
    "mats_sql.sql.verdict",
    "mats_sql.teaching",
    "mats_sql.evaluation",
    "mats_sql.preference",
)


@pytest.mark.parametrize("path", BLIND, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_agent_and_no_team_imports_gold_or_the_judge(path: Path) -> None:
    for module, name in _imports(path):
        assert not f"{module}.{name}".startswith(FORBIDDEN_MODULES), (module, name)
        assert "gold" not in name.lower(), (module, name)
        assert not module.startswith("mats_sql.benchmark.benchmark"), "a Benchmark carries every gold"


@pytest.mark.parametrize("path", BLIND, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_agent_and_no_team_names_gold(path: Path) -> None:
    names = {node.id for node in ast.walk(_tree(path)) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(_tree(path)) if isinstance(node, ast.arg)}
    names |= {node.attr for node in ast.walk(_tree(path)) if isinstance(node, ast.Attribute)}
    assert not [name for name in names if "gold" in name.lower()]


def test_what_prompts_are_made_of_has_no_field_for_gold() -> None:
    for kind in (Question, Review, Critique, Execution):
        assert not [field.name for field in dataclasses.fields(kind) if "gold" in field.name or "correct" in field.name]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gold=st.text(), flipped=st.text(), sql=st.text(), evidence=st.text(), verdict=st.sampled_from(Verdict))
def test_flipping_every_gold_leaves_every_prompt_byte_identical(
    schema: Schema, database: Path, gold: str, flipped: str, sql: str, evidence: str, verdict: Verdict
) -> None:
    question = Question(1, "music", "Who sang in Aarhus?", evidence)
    before, after = (
        repr(_prompts(_benchmark(schema, database, question, text), sql, verdict)).encode("utf-8", "surrogatepass")
        for text in (gold, flipped)
    )
    assert before == after
    assert b"Aarhus Arena" in before, "the schema text must show retrieved values, or nothing is tested here"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("music") / "music.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, Age INTEGER);
            INSERT INTO singer VALUES (1, 'Aarhus Arena', 3), (2, 'Bo', 4);
            CREATE TABLE concert (id INTEGER PRIMARY KEY, singer_id INTEGER, year INTEGER, "Ticket Price" REAL);
            """
        )
    return path


def _benchmark(schema: Schema, database: Path, question: Question, gold: str) -> Benchmark:
    golds = {1: Gold(1, "music", gold)}
    return Benchmark("lab", database.parent, (question,), golds, {"music": schema}, {"music": database})


def _prompts(benchmark: Benchmark, sql: str, verdict: Verdict) -> list[Messages]:
    [question] = benchmark.questions
    schema_text = SchemaTexts(benchmark, BenchmarkSettings()).text_for(question)
    execution = Execution(Outcome.ROWS, ("name",), (("Ann",), (None,)), 2)
    review = Review(question, schema_text, sql, response_text(execution))
    critiques = [Critique(validator, "text", verdict) for validator in Validator]
    return [
        planner_messages(question, schema_text),
        *(VALIDATOR_MESSAGES[validator](review) for validator in Validator),
        fixer_messages(review, feedback_text(critiques)),
        selector_messages(review, critiques),
    ]


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this test can read them"
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
