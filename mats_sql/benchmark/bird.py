"""Reads BIRD, and anything in BIRD's layout (Li et al. 2023, arXiv 2305.03111)."""

from __future__ import annotations

from pathlib import Path

from mats_sql.benchmark.benchmark import Benchmark, pair_questions_with_golds, require_schemas
from mats_sql.benchmark.database_file import find_databases, with_nulls
from mats_sql.benchmark.descriptions import describe
from mats_sql.benchmark.items import BirdQuestion, Item, read_items, require_folder
from mats_sql.benchmark.layout import bird_files
from mats_sql.benchmark.question import Gold, Question
from mats_sql.benchmark.tables_file import read_tables_file


def read_bird(root: Path, split: str) -> Benchmark:
    """Return the split ``train`` or ``dev`` of a folder in BIRD's layout.

    The layout is ``<split>.json``, ``<split>_tables.json`` and ``<split>_databases/<db>/`` with ``<db>.sqlite`` and
    ``database_description/*.csv``, in ``root`` or in ``root/<split>``. Database files and descriptions may be
    missing. A question without ``question_id`` (BIRD's train set) has its position as its id.

    Raises :class:`~mats_sql.errors.BenchmarkError` for files that are missing, malformed or contradict each other, and
    :class:`~mats_sql.errors.DatabaseError` for a database file that is no database.
    """
    require_folder(root)
    files = bird_files(root, split)
    path = files.questions
    items = [_question(item) for item in read_items(path, BirdQuestion)]
    declared = read_tables_file(files.tables)
    databases = find_databases(files.databases)
    schemas = {
        db_id: describe(schema, files.databases / db_id / "database_description") for db_id, schema in declared.items()
    }
    questions = tuple(question for question, _ in items)
    golds = pair_questions_with_golds(str(path), items)
    require_schemas(str(path), questions, schemas)
    for db_id in schemas.keys() & databases.keys():
        schemas[db_id] = with_nulls(schemas[db_id], databases[db_id])
    return Benchmark(f"bird-{split}", root, questions, golds, schemas, databases)


def _question(item: Item[BirdQuestion]) -> tuple[Question, Gold]:
    fields = item.fields
    question = Question(
        question_id=fields.question_id if "question_id" in fields.model_fields_set else item.position,
        db_id=fields.db_id,
        text=fields.question,
        evidence=fields.evidence.strip(),
        difficulty=fields.difficulty,
    )
    return question, Gold(question.question_id, question.db_id, fields.sql)
