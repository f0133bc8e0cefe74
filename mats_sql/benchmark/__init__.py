"""Questions, gold and schemas: reads BIRD and Spider, turns a schema into prompt text, filters, splits, guards leaks.

A :class:`~mats_sql.benchmark.benchmark.Benchmark` is read by :func:`~mats_sql.benchmark.bird.read_bird` or
:func:`~mats_sql.benchmark.spider.read_spider`. :class:`~mats_sql.benchmark.prompts.SchemaTexts` gives a question's
schema text; it keeps no gold, so no prompt can depend on one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mats_sql.faces import Face

if TYPE_CHECKING:
    from mats_sql.benchmark.benchmark import Benchmark, require_questions_for_databases, split_off
    from mats_sql.benchmark.bird import read_bird
    from mats_sql.benchmark.folds import folds_of
    from mats_sql.benchmark.leaks import check_no_leak, drop_shared_texts, normalized_text
    from mats_sql.benchmark.prompts import SchemaTexts
    from mats_sql.benchmark.question import Question
    from mats_sql.benchmark.receipt import GoldReceipt, make_receipt
    from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
    from mats_sql.benchmark.schema_prompt import RetrievedValues, SchemaStyle, quote_name, schema_text
    from mats_sql.benchmark.server_schema import schema_from_server
    from mats_sql.benchmark.spider import read_spider
    from mats_sql.benchmark.splits import split_questions
    from mats_sql.benchmark.sqlite_schema import schema_from_sqlite
    from mats_sql.benchmark.survey import SplitSurvey, changed_databases, survey_split
    from mats_sql.benchmark.usable import Exclusion, usable_questions
    from mats_sql.benchmark.values import ValueIndex
    from mats_sql.benchmark.words import tokenize

__all__ = [
    "Benchmark",
    "Column",
    "Exclusion",
    "ForeignKey",
    "GoldReceipt",
    "Question",
    "RetrievedValues",
    "Schema",
    "SchemaStyle",
    "SchemaTexts",
    "SplitSurvey",
    "Table",
    "ValueIndex",
    "changed_databases",
    "check_no_leak",
    "drop_shared_texts",
    "folds_of",
    "make_receipt",
    "normalized_text",
    "quote_name",
    "read_bird",
    "read_spider",
    "require_questions_for_databases",
    "schema_from_server",
    "schema_from_sqlite",
    "schema_text",
    "split_off",
    "split_questions",
    "survey_split",
    "tokenize",
    "usable_questions",
]

__getattr__ = Face(
    __name__,
    {
        "benchmark": ("Benchmark", "require_questions_for_databases", "split_off"),
        "bird": ("read_bird",),
        "folds": ("folds_of",),
        "leaks": ("check_no_leak", "drop_shared_texts", "normalized_text"),
        "prompts": ("SchemaTexts",),
        "question": ("Question",),
        "receipt": ("GoldReceipt", "make_receipt"),
        "schema": ("Column", "ForeignKey", "Schema", "Table"),
        "schema_prompt": ("RetrievedValues", "SchemaStyle", "quote_name", "schema_text"),
        "server_schema": ("schema_from_server",),
        "spider": ("read_spider",),
        "splits": ("split_questions",),
        "sqlite_schema": ("schema_from_sqlite",),
        "survey": ("SplitSurvey", "changed_databases", "survey_split"),
        "usable": ("Exclusion", "usable_questions"),
        "values": ("ValueIndex",),
        "words": ("tokenize",),
    },
)
