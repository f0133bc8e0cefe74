from __future__ import annotations

import ast
import dataclasses
import inspect

import pytest

from mats_sql.benchmark import prompts, schema_budget, schema_prompt, values
from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.prompts import SchemaTexts
from mats_sql.benchmark.question import Gold
from mats_sql.config import BenchmarkSettings


def texts(benchmark, **settings) -> list[str]:
    schema_texts = SchemaTexts(benchmark, BenchmarkSettings(**settings))
    return [schema_texts.text_for(question) for question in benchmark.questions]


def test_the_text_shows_what_the_question_asks_about(bird_folder):
    text = texts(read_bird(bird_folder.write(), "dev"), values_per_column=2)[0]
    assert text == (
        "table `Student List` , columns = [\n"
        "`Student List`.id | primary key ; type: integer\n"
        "`Student List`.full_name | type: text ; values: Cy North\n"
        "`Student List`.home_town | type: text ; meaning: place of birth ; has None ; values: North Hill , Hill End\n"
        "`Student List`.born | type: date ; has None\n"
        "`Student List`.score | type: real\n"
        "]\n"
        "table enrolment , columns = [\n"
        "enrolment.student_id | primary key ; type: integer\n"
        "enrolment.course | primary key ; type: text\n"
        "]\n"
        "foreign keys:\n"
        "enrolment.student_id = `Student List`.id"
    )


def test_each_setting_removes_its_part(bird_folder):
    benchmark = read_bird(bird_folder.write(), "dev")
    for setting, part in {
        "show_types": "type:",
        "show_meanings": "meaning:",
        "show_nulls": "has None",
        "values_per_column": "values:",
    }.items():
        assert part in texts(benchmark)[0]
        assert part not in texts(benchmark, **{setting: 0})[0]


def test_a_missing_database_has_no_values(bird_folder):
    bird_folder.database("school").unlink()
    assert "values:" not in texts(read_bird(bird_folder.write(), "dev"))[0]


def test_the_text_does_not_depend_on_the_order_of_questions(bird_folder):
    benchmark = read_bird(bird_folder.write(), "dev")
    backwards = dataclasses.replace(benchmark, questions=benchmark.questions[::-1])
    assert texts(backwards) == texts(benchmark)[::-1]


def test_changing_every_gold_leaves_every_text_byte_identical(bird_folder):
    benchmark = read_bird(bird_folder.write(), "dev")
    golds = list(benchmark.golds.values())
    flipped = {
        gold.question_id: Gold(gold.question_id, gold.db_id, f"SELECT 'North Hill', {other.sql!r}")
        for gold, other in zip(golds, golds[::-1], strict=True)
    }
    assert texts(dataclasses.replace(benchmark, golds=flipped)) == texts(benchmark)
    assert texts(dataclasses.replace(benchmark, golds={})) == texts(benchmark)


def test_changing_every_gold_in_the_files_of_bird_leaves_every_text_byte_identical(shared_data, bird_folder):
    benchmark = read_bird(shared_data / "bird", "dev")
    assert texts(dataclasses.replace(benchmark, golds={})) == texts(benchmark)
    before = texts(read_bird(bird_folder.write(), "dev"))
    for question in bird_folder.questions:
        question["SQL"] = "SELECT 'Open Water'"
    assert texts(read_bird(bird_folder.write(), "dev")) == before


@pytest.mark.parametrize("module", [prompts, schema_budget, schema_prompt, values])
def test_what_builds_schema_texts_does_not_name_gold(module):
    tree = ast.parse(inspect.getsource(module))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not {"Gold", "golds", "judge", "Judge"} & names
