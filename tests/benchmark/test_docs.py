"""The page about benchmarks is true: its example is read, and gives the schema text that it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.prompts import SchemaTexts
from mats_sql.config import BenchmarkSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def test_the_example_of_own_data_gives_the_schema_text_it_shows(bird_folder):
    blocks = dict(re.findall(r"^```\w+ (\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    bird_folder.questions = json.loads(blocks["questions"])
    bird_folder.tables = json.loads(blocks["tables"])
    bird_folder.write_description("clinic", "patient.csv", blocks["descriptions"].encode())
    bird_folder.write_database(
        "clinic",
        "CREATE TABLE patient (id INTEGER PRIMARY KEY, city TEXT);"
        "CREATE TABLE visit (patient_id INTEGER, day DATE);"
        "INSERT INTO patient VALUES (1, 'Bergen'), (2, NULL);",
    )
    benchmark = read_bird(bird_folder.write(), "dev")
    text = SchemaTexts(benchmark, BenchmarkSettings()).text_for(benchmark.questions[0])
    assert text == blocks["schema"].rstrip("\n")


def test_every_setting_is_explained():
    page = PAGE.read_text(encoding="utf-8")
    assert [key for key in BenchmarkSettings.model_fields if key not in page] == []
