"""The values of an unwritten database that a question mentions, as the benchmark's value index finds them in a file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection

from mats_sql.benchmark import RetrievedValues, tokenize
from mats_sql.lab.databases import LabDatabase


def mentioned_values(database: LabDatabase, text: str) -> RetrievedValues:
    """Return the best value per text column that shares a word with ``text``; rarer words count more, as in BM25."""
    words = set(tokenize(text))
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for table in database.tables:
        for column in table.columns:
            if column.type == "text":
                best = _best({value for value in table.values(column) if isinstance(value, str)}, words)
                if best is not None:
                    found[table.name, column.name] = (best,)
    return found


def _best(values: Collection[str], words: set[str]) -> str | None:
    documents = {value: set(tokenize(value)) for value in sorted(values)}
    frequency = Counter(word for tokens in documents.values() for word in tokens)
    scores = {
        value: sum(1 + math.log(len(documents) / frequency[word]) for word in tokens & words)
        for value, tokens in documents.items()
    }
    best = max(scores.values(), default=0.0)
    return next(value for value, score in scores.items() if score == best) if best > 0 else None
