"""Finds the values of a database that a question seems to mention: BM25 per text column (arXiv 2512.18622)."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mats_sql.benchmark.schema import Schema
from mats_sql.benchmark.schema_prompt import RetrievedValues
from mats_sql.benchmark.value_writer import write_index
from mats_sql.benchmark.words import tokenize

K1, B = 1.5, 0.75
"""BM25's saturation of repeated words and its weight of a value's length, with Lucene's idf."""

_POSTING = np.dtype([("text", "<u4"), ("times", "u1"), ("words", "u1")])
_Postings = NDArray[np.void]


class ValueIndex:
    """An index of the text values of one database, asked once per question.

    Its file (:mod:`~mats_sql.benchmark.value_writer`) is read as far as a question needs it.

    It holds the distinct values of at most :data:`~mats_sql.benchmark.value_writer.MAX_VALUE_CHARACTERS` characters of
    every column whose declared type is text. A value is found only when it shares a word with the question, stop words
    aside: there is no arbitrary first value where nothing was found. *Not covered*: word forms (``singers`` does not
    find ``singer``), typing errors, values in number or date columns, and columns with more than
    :data:`~mats_sql.benchmark.value_writer.MAX_VALUES_PER_COLUMN` distinct values beyond the first ones.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("SELECT id, table_name, column_name, first, texts, words FROM columns")
        self._columns = {column_id: (table, column, *counts) for column_id, table, column, *counts in rows}

    @classmethod
    def build(cls, database: Path, schema: Schema) -> ValueIndex:
        """Index a database in a temporary file of this process. Raises :class:`~mats_sql.errors.DatabaseError`."""
        return cls(write_index(database, schema, None))

    def retrieve(self, text: str, per_column: int) -> RetrievedValues:
        """Return up to ``per_column`` values of each column that share a word with ``text``, best first.

        Values of equal scores come in the order of their code points.
        """
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        if per_column < 1:
            return found
        postings: defaultdict[int, list[_Postings]] = defaultdict(list)
        for word in sorted(set(tokenize(text))):
            for column_id, known in self._postings(word):
                postings[column_id].append(known)
        for column_id in sorted(postings):
            table, column, first, texts, words = self._columns[column_id]
            best = _best(postings[column_id], texts, words / texts, per_column)
            found[table, column] = tuple(self._text(first + int(position)) for position in best)
        return found

    def _postings(self, word: str) -> Iterator[tuple[int, _Postings]]:
        """Yield each column that has the word, with the values that hold it."""
        rows = self._connection.execute(
            "SELECT column_id, packed FROM columns CROSS JOIN postings ON column_id = id AND word = ? "
            "ORDER BY column_id, part",
            (word.encode("utf-8", "surrogatepass"),),
        )
        parts: defaultdict[int, list[bytes]] = defaultdict(list)
        for column_id, packed in rows:
            parts[column_id].append(packed)
        for column_id, packed_parts in parts.items():
            yield column_id, np.frombuffer(b"".join(packed_parts), _POSTING)

    def _text(self, position: int) -> str:
        return str(self._connection.execute("SELECT text FROM texts WHERE id = ?", (position,)).fetchone()[0])


def _best(postings: list[_Postings], texts: int, mean_words: float, count: int) -> NDArray[np.int64]:
    """Return the numbers of the best values that hold one of the words, best first; ``postings`` has an item per word.

    Scores are added in 32 bits in the words' order, as bm25s does, whose rankings these are.
    """
    scores = np.zeros(texts, np.float32)
    for known in postings:
        idf = np.float32(math.log(1 + (texts - len(known) + 0.5) / (len(known) + 0.5)))
        times = known["times"].astype(np.float32)
        length = (1 - B) + B * known["words"].astype(np.float64) / mean_words
        scores[known["text"]] += (idf * (times / (K1 * length + times))).astype(np.float32)
    hits = np.flatnonzero(scores > 0)
    return hits[np.argsort(-scores[hits], kind="stable")[:count]]
