"""A teacher that writes, asks or takes anything else must get a new version: models were trained on its answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import get_args

import pytest

from mats_sql.agents.critique import Validator
from mats_sql.agents.review import Review
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Schema
from mats_sql.config import GenerationSettings, TeacherSettings
from mats_sql.digests import digest_json
from mats_sql.generation.open import open_engine
from mats_sql.teaching.large_model import LargeModelTeacher
from mats_sql.teaching.teacher import CritiqueTask, PlanTask, write_critique, write_plan
from mats_sql.teaching.versions import TEACHER_VERSIONS
from tests.chat_server import ChatServer, reply, serving

GOLD = "SELECT name FROM singer WHERE age > 3"
JOIN = "FROM singer AS T1 INNER JOIN concert AS T2 ON T1.id = T2.singer_id"
PAIRS = [
    (GOLD, GOLD),
    ("select T1.NAME from singer as T1 where 3 < T1.age;", GOLD),
    ("SELECT age FROM singer WHERE age > 3", GOLD),
    ("SELECT name FROM singer WHERE age >= 3 OR name LIKE 'A%'", GOLD),
    (f"SELECT T1.name {JOIN} WHERE T2.year BETWEEN 2000 AND 2010", f"SELECT T1.name {JOIN} WHERE T2.year = 2000"),
    ("SELECT singer.name FROM singer, concert", f"SELECT name {JOIN}"),
    (f"SELECT name, COUNT(*) {JOIN} GROUP BY T1.id HAVING COUNT(*) > 1", f"SELECT name, COUNT(DISTINCT year) {JOIN}"),
    (
        "SELECT name FROM singer ORDER BY age DESC LIMIT 1",
        "SELECT name FROM singer WHERE age = (SELECT MAX(age) FROM singer)",
    ),
    (
        "SELECT name FROM singer UNION SELECT year FROM concert",
        "SELECT name FROM singer WHERE id IN (SELECT singer_id FROM concert)",
    ),
    (
        "SELECT CAST(SUM(CASE WHEN age > 3 THEN 1 ELSE 0 END) AS REAL) * 100 / COUNT(*) FROM singer",
        "SELECT AVG(age > 3) * 100 FROM singer",
    ),
    ("WITH old AS (SELECT * FROM singer) SELECT DISTINCT `Ticket Price` FROM concert", "SELECT 'x' FROM concert"),
    ("SELECT nothing FROM nowhere", GOLD),
    ("I do not know", "DELETE FROM singer"),
]
MODEL_ANSWERS = [
    "Goal to select: a\nCondition: b\nTables to use: c\nFinal SQL query:\n```sql\nSELECT 1\n```",
    "Goal to select: a\nTables to use: c",
    "SELECT.\nfine\nConclude: correct.",
    "CONDITION.\nmissing\nConclude: incorrect.",
    f"SELECT.\n{GOLD}\nConclude: incorrect.",
    "SELECT.\nfine",
]
DIGESTS = {"rule-teacher-2": "cc72ffce8712c6e5", "large-model-teacher-1": "3fc86cb4829fe772"}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving(lambda _: reply("", 1, finished=True)) as running:
        yield running


def of_rules(schema: Schema) -> object:
    """Return what the teacher of rules writes of every pair."""
    return [
        [write_plan(gold, schema), *(write_critique(validator, sql, gold, schema).text for validator in Validator)]
        for sql, gold in PAIRS
    ]


def of_a_large_model(server: ChatServer, schema: Schema) -> object:
    """Return what the teacher that is a large model asks, and what it takes of some answers."""
    question = Question(1, "music", "Who is older than 3?", "older refers to age")
    review = Review(question, "table singer", "SELECT age FROM singer", "no rows")
    engine = open_engine(GenerationSettings(engine="openai", base_url=server.url), server.model_name)
    teacher, taken = LargeModelTeacher(engine), []
    for text in MODEL_ANSWERS:
        server.answer = lambda _, text=text: reply(text, 9, finished=True)  # type: ignore[misc]
        taken.append(teacher.plans([PlanTask(question, schema, "table singer", GOLD)]))
        for validator in Validator:
            [critique] = teacher.critiques([CritiqueTask(validator, review, schema, GOLD)])
            taken.append([critique.text if critique else None])
    engine.close()
    asked = {body["messages"][0]["content"] for body in server.bodies}
    return [sorted(asked), taken]


def test_a_version_of_the_rules_stands_for_the_exact_texts_they_write(schema: Schema) -> None:
    found = digest_json(of_rules(schema))[:16]
    assert DIGESTS[TEACHER_VERSIONS["rules"]] == found, "what the rules write changed: raise their version"


def test_a_version_of_the_large_model_stands_for_the_exact_prompts_and_what_is_taken(
    server: ChatServer, schema: Schema
) -> None:
    found = digest_json(of_a_large_model(server, schema))[:16]
    assert DIGESTS[TEACHER_VERSIONS["large_model"]] == found, "the teacher changed: raise its version"


def test_every_kind_of_teacher_has_a_version_of_its_own() -> None:
    assert set(TEACHER_VERSIONS) == set(get_args(TeacherSettings.model_fields["kind"].annotation))
    assert len(set(TEACHER_VERSIONS.values())) == len(TEACHER_VERSIONS)


def test_versions_are_read_without_importing_anything_heavy() -> None:
    heavy = "{'torch', 'transformers', 'mlflow', 'sqlglot', 'datasets'}"
    check = f"import sys, mats_sql.teaching.versions; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"
