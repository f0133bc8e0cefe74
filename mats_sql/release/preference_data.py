"""Preference pairs as TRL reads them: https://huggingface.co/docs/trl/dataset_formats (conversational preference).

A row is ``prompt``, ``chosen`` and ``rejected``, each a list of ``{"role", "content"}``; beside them stands where the
pair came from. The format has one prompt for both answers, so pairs of a prompt each (the fixer's ``joint`` pairs)
cannot be written in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mats_sql.agents import as_dicts
from mats_sql.preference import PreferencePair

Turns = list[dict[str, str]]


def preference_row(pair: PreferencePair) -> dict[str, object]:
    """Return a pair under one prompt as a row of TRL's format."""
    return {
        "prompt": as_dicts(pair.chosen_prompt),
        "chosen": _answer(pair.chosen),
        "rejected": _answer(pair.rejected),
        "pair_id": pair.pair_id,
        "agent": pair.agent,
        "regime": pair.regime,
        "question_id": pair.question_id,
    }


def under_one_prompt(pairs: Iterable[PreferencePair]) -> list[PreferencePair]:
    """Return the pairs whose two answers answer the same prompt."""
    return [pair for pair in pairs if pair.chosen_prompt == pair.rejected_prompt]


def write_preference_data(pairs: Sequence[PreferencePair], folder: Path, name: str) -> None:
    """Write ``<name>.jsonl`` and ``<name>.parquet`` with the same rows, in the pairs' order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [preference_row(pair) for pair in pairs]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema(
        [
            *((column, turns) for column in ("prompt", "chosen", "rejected")),
            *((column, pa.string()) for column in ("pair_id", "agent", "regime")),
            ("question_id", pa.int64()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{name}.parquet")


def _answer(text: str) -> Turns:
    return [{"role": "assistant", "content": text}]
