"""Pairs as a Parquet table: a column per field, prompts as chat messages in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from mats_sql.agents.messages import ChatMessage, Messages, as_dicts
from mats_sql.errors import StageInputError
from mats_sql.preference.pair import PreferencePair

PROMPTS = ("chosen_prompt", "rejected_prompt")


def write_pairs(pairs: Sequence[PreferencePair], path: Path) -> None:
    """Write pairs in their order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [field.name for field in fields(PreferencePair)]
    columns = {
        name: pa.array(
            [_plain(getattr(pair, name)) for pair in pairs], type=pa.int64() if name == "question_id" else pa.string()
        )
        for name in names
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def read_pairs(path: Path) -> list[PreferencePair]:
    """Read pairs; raises :class:`StageInputError` when the table is missing or malformed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
        return [PreferencePair(**(row | {name: _messages(row[name]) for name in PROMPTS})) for row in rows]
    except (OSError, pa.ArrowInvalid, TypeError, KeyError, ValueError) as error:
        raise StageInputError(
            f"a pairs table must be readable with its documented columns, but {path}: {error}; build the pairs again"
        ) from None


def _plain(value: object) -> object:
    return json.dumps(as_dicts(value), ensure_ascii=False) if isinstance(value, tuple) else value


def _messages(text: str) -> Messages:
    return tuple(ChatMessage(item["role"], item["content"]) for item in json.loads(text))
