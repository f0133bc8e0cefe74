"""The generated benchmark: deterministic, disjoint, in BIRD's layout, with golds that decide something."""

from __future__ import annotations

import json
import re
import runpy
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.leaks import check_no_leak
from mats_sql.benchmark.prompts import SchemaTexts
from mats_sql.benchmark.schema import Schema
from mats_sql.config import BenchmarkSettings, LabSettings
from mats_sql.digests import digest_file, digest_json, digest_tree
from mats_sql.errors import ConfigError
from mats_sql.lab.generator import GENERATOR_VERSION, write_lab

PAGE = runpy.run_path("docs/draw_lab_questions.py")
SMALL = LabSettings(seed=5, train_databases=4, train_questions=60, dev_databases=3, dev_questions=50)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lab")
    write_lab(root, SMALL)
    return root


@pytest.fixture(scope="module")
def full_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("full")
    write_lab(root, LabSettings())
    return root


def test_equal_settings_write_equal_bytes_database_files_included(lab: Path, tmp_path: Path) -> None:
    write_lab(tmp_path, SMALL)
    assert digest_tree(tmp_path) == digest_tree(lab)


def test_writing_over_an_earlier_lab_gives_the_same_bytes(lab: Path) -> None:
    before = digest_tree(lab)
    write_lab(lab, SMALL)
    assert digest_tree(lab) == before


def test_other_questions_or_schemas_for_equal_settings_need_another_version(lab: Path) -> None:
    files = [digest_file(lab / name) for name in ("dev.json", "dev_tables.json", "train.json", "train_tables.json")]
    assert {GENERATOR_VERSION: digest_json(files)[:16]} == {4: "7b5a8050ee2d1a7c"}


def test_another_seed_writes_another_benchmark(lab: Path, tmp_path: Path) -> None:
    write_lab(tmp_path, SMALL.model_copy(update={"seed": 6}))
    assert (tmp_path / "dev.json").read_text() != (lab / "dev.json").read_text()


def test_dev_does_not_depend_on_the_size_of_train(lab: Path, tmp_path: Path) -> None:
    write_lab(tmp_path, SMALL.model_copy(update={"train_questions": 30}))
    assert (tmp_path / "dev.json").read_text() == (lab / "dev.json").read_text()


def test_the_full_lab_has_the_size_and_the_difficulties_of_bird_dev(full_lab: Path) -> None:
    dev = read_bird(full_lab, "dev")
    assert len(dev.questions) == 1524
    assert len(dev.databases) == 11
    shares = Counter(question.difficulty for question in dev.questions)
    assert shares["simple"] / 1524 == pytest.approx(0.6, abs=0.01)
    assert shares["moderate"] / 1524 == pytest.approx(0.3, abs=0.01)


def test_train_and_dev_share_neither_databases_nor_question_texts(full_lab: Path) -> None:
    check_no_leak(read_bird(full_lab, "train").questions, read_bird(full_lab, "dev").questions)


def test_question_texts_never_repeat_within_a_split(full_lab: Path) -> None:
    for split in ("train", "dev"):
        texts = Counter(question.text for question in read_bird(full_lab, split).questions)
        assert [text for text, count in texts.items() if count > 1] == []


def test_every_gold_executes_and_returns_something(full_lab: Path) -> None:
    dev = read_bird(full_lab, "dev")
    for question in dev.questions:
        with closing(sqlite3.connect(dev.databases[question.db_id])) as connection:
            rows = connection.execute(dev.golds[question.question_id].sql).fetchall()
        assert any(value not in (None, 0) for row in rows for value in row), dev.golds[question.question_id].sql


def test_evidence_defines_a_word_of_the_question(full_lab: Path) -> None:
    told = [question for question in read_bird(full_lab, "dev").questions if question.evidence]
    assert len(told) > 100
    assert [q.text for q in told if q.evidence.split(" refers to ")[0] not in q.text] == []


def test_some_columns_need_their_description(full_lab: Path) -> None:
    schemas = read_bird(full_lab, "dev").schemas
    assert all(len(_described(schema)) == 1 for schema in schemas.values())


def test_of_the_keys_between_two_tables_one_holds_and_no_other_refers_to_any_row(full_lab: Path) -> None:
    decoys = 0
    for path in read_bird(full_lab, "dev").databases.values():
        with closing(sqlite3.connect(path)) as connection:
            for keys in _keys_between_tables(connection).values():
                matched = sorted(_matched(connection, *key) for key in keys)
                assert matched[-1] == 1.0, path
                assert set(matched[:-1]) <= {0.0}, path
                decoys += len(matched) - 1
    assert decoys > 5


def test_no_two_questions_of_a_database_have_one_gold(full_lab: Path) -> None:
    for split in ("train", "dev"):
        read = read_bird(full_lab, split)
        golds = Counter((question.db_id, read.golds[question.question_id].sql) for question in read.questions)
        assert [gold for gold, count in golds.items() if count > 1] == []


def test_many_golds_hold_a_value_that_neither_question_nor_evidence_nor_prompt_has(full_lab: Path) -> None:
    dev = read_bird(full_lab, "dev")
    texts = SchemaTexts(dev, BenchmarkSettings())
    hidden = 0
    for question in dev.questions:
        literals = re.findall(r"'([^']*)'", dev.golds[question.question_id].sql)
        prompt = f"{texts.text_for(question)} {question.text} {question.evidence}"
        hidden += any(literal not in prompt for literal in literals)
    assert 0.1 < hidden / len(dev.questions) < 0.25


def test_databases_have_three_to_five_tables_and_some_numbers_are_stored_as_text(full_lab: Path) -> None:
    schemas = read_bird(full_lab, "dev").schemas
    assert {len(schema.tables) for schema in schemas.values()} <= {3, 4, 5}
    golds = [gold.sql for gold in read_bird(full_lab, "dev").golds.values()]
    assert sum("CAST(" in sql for sql in golds) / len(golds) > 0.05
    assert sum(sql.count(" JOIN ") > 1 for sql in golds) > 20


def test_the_tables_file_agrees_with_the_database_files(lab: Path) -> None:
    items = json.loads((lab / "dev_tables.json").read_text())
    assert len(items) == SMALL.dev_databases
    for item in items:
        path = lab / "dev_databases" / item["db_id"] / f"{item['db_id']}.sqlite"
        assert _listed(item) == _declared(path, item["table_names_original"])


def test_more_databases_than_there_are_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be at most"):
        write_lab(tmp_path, LabSettings(train_databases=5000))


def _listed(item: dict[str, Any]) -> dict[str, set[tuple[object, ...]]]:
    """Return what the tables file says: columns with types, primary keys, foreign keys."""
    names = item["column_names_original"]
    dotted = [(item["table_names_original"][table], name) for table, name in names]
    types = zip(dotted[1:], item["column_types"][1:], strict=True)
    return {
        "columns": {(*column, kind) for column, kind in types},
        "primary": {dotted[number] for number in item["primary_keys"]},
        "foreign": {(*dotted[child], *dotted[parent]) for child, parent in item["foreign_keys"]},
    }


def _declared(path: Path, tables: list[str]) -> dict[str, set[tuple[object, ...]]]:
    """Return what a database file declares."""
    found: dict[str, set[tuple[object, ...]]] = {"columns": set(), "primary": set(), "foreign": set()}
    with closing(sqlite3.connect(path)) as connection:
        for table in tables:
            for _, name, kind, _, _, key in connection.execute(f"PRAGMA table_info({table})"):
                found["columns"].add((table, name, kind.lower()))
                if key:
                    found["primary"].add((table, name))
            for row in connection.execute(f"PRAGMA foreign_key_list({table})"):
                found["foreign"].add((table, row[3], row[2], row[4]))
    return found


def _keys_between_tables(connection: sqlite3.Connection) -> dict[tuple[str, str], list[tuple[str, str, str]]]:
    """Return (child, parent) -> its declared keys as (child, column, parent)."""
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in connection.execute(f"PRAGMA foreign_key_list({table})"):
            found.setdefault((table, row[2]), []).append((table, row[3], row[2]))
    return found


def _matched(connection: sqlite3.Connection, child: str, column: str, parent: str) -> float:
    """Return the share of a table's rows whose key refers to a row."""
    sql = f"SELECT AVG({column} IN (SELECT id FROM {parent})) FROM {child}"
    return float(connection.execute(sql).fetchone()[0])


def _described(schema: Schema) -> list[str]:
    return [column.name for table in schema.tables for column in table.columns if column.meaning]


def test_the_documented_questions_are_the_lab_s() -> None:
    page = Path("docs/lab.md").read_text(encoding="utf-8")
    assert PAGE["with_questions"](page) == page, "run python docs/draw_lab_questions.py"
