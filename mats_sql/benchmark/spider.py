"""Reads Spider 1.0 (Yu et al. 2018, arXiv 1809.08887)."""

from __future__ import annotations

from pathlib import Path

from mats_sql.benchmark.benchmark import Benchmark, pair_questions_with_golds, require_schemas
from mats_sql.benchmark.database_file import find_databases, with_nulls
from mats_sql.benchmark.descriptions import describe
from mats_sql.benchmark.items import Item, SpiderQuestion, read_items, require_folder
from mats_sql.benchmark.layout import spider_files
from mats_sql.benchmark.question import Gold, Question
from mats_sql.benchmark.tables_file import read_tables_file


def read_spider(root: Path, split: str) -> Benchmark:
    """Return the split ``train`` or ``dev`` of a Spider folder; a question's id is its position in the file.

    The layout is ``dev.json`` or ``train_spider.json`` (else ``train_spider_min.json``, the same questions with
    fewer fields), ``tables.json`` and ``database/<db>/<db>.sqlite``. The tables file serves all splits, so a split
    has the schemas and databases of its own questions only. Spider has no evidence and no difficulty.

    Raises :class:`~mats_sql.errors.BenchmarkError` for files that are missing, malformed or contradict each other, and
    :class:`~mats_sql.errors.DatabaseError` for a database file that is no database.
    """
    require_folder(root)
    files = spider_files(root, split)
    path = files.questions
    items = [_question(item) for item in read_items(path, SpiderQuestion)]
    questions = tuple(question for question, _ in items)
    golds = pair_questions_with_golds(str(path), items)
    asked = {question.db_id for question in questions}
    databases = {db_id: file for db_id, file in find_databases(files.databases).items() if db_id in asked}
    declared = read_tables_file(files.tables)
    schemas = {
        db_id: describe(schema, files.databases / db_id / "database_description")
        for db_id, schema in declared.items()
        if db_id in asked
    }
    require_schemas(str(path), questions, schemas)
    for db_id, database in databases.items():
        schemas[db_id] = with_nulls(schemas[db_id], database)
    return Benchmark(f"spider-{split}", root, questions, golds, schemas, databases)


def _question(item: Item[SpiderQuestion]) -> tuple[Question, Gold]:
    question = Question(item.position, item.fields.db_id, item.fields.question)
    return question, Gold(question.question_id, question.db_id, item.fields.query)
