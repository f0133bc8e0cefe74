"""The schema text of each question: what every agent's prompt begins with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mats_sql.benchmark.benchmark import Benchmark
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema_budget import FittedSchema, fit_schema
from mats_sql.benchmark.schema_prompt import RetrievedValues, SchemaStyle, schema_text
from mats_sql.config import BenchmarkSettings
from mats_sql.file_digests import DIGESTS_FILE, FileDigests

if TYPE_CHECKING:
    from mats_sql.benchmark.values import ValueIndex


class SchemaTexts:
    """Gives schema texts, with the values that each question seems to mention.

    It takes the schemas and database files out of the benchmark and keeps no gold. Value indexes are kept below
    ``cache`` and found there again by whoever asks about the same database; without it they are temporary files. The
    databases of ``indexes``, which need no file, come with theirs.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        settings: BenchmarkSettings,
        cache: Path | None = None,
        indexes: Mapping[str, ValueIndex] | None = None,
    ) -> None:
        self._schemas = benchmark.schemas
        self._databases = benchmark.databases
        self._characters = settings.schema_characters
        self._values_per_column = settings.values_per_column
        self._style = SchemaStyle(
            types=settings.show_types,
            meanings=settings.show_meanings,
            nulls=settings.show_nulls,
            values=settings.values_per_column > 0,
        )
        self._cache = cache
        self._indexes = dict(indexes or {})

    def text_for(self, question: Question) -> str:
        """Return the schema text of the question's database, within ``benchmark.schema_characters`` where it is set.

        A database whose file is missing has no values. Raises :class:`~mats_sql.errors.DatabaseError` for a file
        that cannot be read.
        """
        return self.fitted(question).text

    def fitted(self, question: Question) -> FittedSchema:
        """Return that text and how many columns were left out of it."""
        schema, values = self._schemas[question.db_id], self._values_for(question)
        if self._characters is None:
            return FittedSchema(schema_text(schema, values, self._style))
        return fit_schema(schema, question, values, self._style, self._characters)

    def _values_for(self, question: Question) -> RetrievedValues:
        db_id = question.db_id
        if self._values_per_column == 0 or db_id not in {*self._databases, *self._indexes}:
            return {}
        if db_id not in self._indexes:
            self._indexes[db_id] = self._index(db_id)
        return self._indexes[db_id].retrieve(question.text, self._values_per_column)

    def _index(self, db_id: str) -> ValueIndex:
        from mats_sql.benchmark.value_files import kept_index
        from mats_sql.benchmark.values import ValueIndex

        database, schema = self._databases[db_id], self._schemas[db_id]
        if self._cache is None:
            return ValueIndex.build(database, schema)
        with FileDigests(self._cache / DIGESTS_FILE) as digests:
            return kept_index(database, schema, digests, self._cache / "values")
