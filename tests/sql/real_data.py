"""Where the real candidates lie, and the plain rule they are compared with."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("MATS_SHARED", Path(__file__).parents[3] / "shared"))
LAYOUTS = {"bird": ("bird", "dev_databases"), "spider": ("spider", "database")}


@dataclass(frozen=True, slots=True)
class RealCandidate:
    """One system's SQL for one question."""

    question_id: int
    system: str
    database: Path
    gold: str
    sql: str


def shared(*parts: str) -> Path:
    """Return a path in the shared data, or skip the test."""
    path = SHARED.joinpath("data", *parts)
    if not path.exists():
        pytest.skip(f"needs the shared data: {path} is not there; set MATS_SHARED")
    return path


def real_candidates(name: str) -> Iterator[RealCandidate]:
    """Yield every published candidate of ``bird`` or ``spider``."""
    folder = shared(*LAYOUTS[name])
    with gzip.open(shared("candidates", f"{name}_dev.jsonl.gz"), "rt", encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            database = folder / item["db_id"] / f"{item['db_id']}.sqlite"
            for system, sql in item["candidates"].items():
                yield RealCandidate(item["question_id"], system, database, item["gold"], sql)


class PlainEvaluator:
    """BIRD's rule as its evaluation script states it: fetch everything, compare the two sets of rows.

    Differences from the script: the connection cannot write, gold's rows are kept, and the 30 seconds are SQLite's.
    """

    def __init__(self) -> None:
        self._connections: dict[Path, sqlite3.Connection] = {}
        self._golds: dict[tuple[Path, str], set[tuple[object, ...]]] = {}

    def correct(self, database: Path, gold: str, sql: str) -> bool:
        """Whether BIRD counts ``sql`` as correct."""
        try:
            return set(self._run(database, sql)) == self._gold(database, gold)
        except Exception:  # noqa: BLE001 - the script counts every exception as wrong
            return False

    def _gold(self, database: Path, gold: str) -> set[tuple[object, ...]]:
        if (database, gold) not in self._golds:
            self._golds[database, gold] = set(self._run(database, gold))
        return self._golds[database, gold]

    def _run(self, database: Path, sql: str) -> list[tuple[object, ...]]:
        if database not in self._connections:
            uri = f"file:{database}?mode=ro&immutable=1"
            self._connections[database] = sqlite3.connect(uri, uri=True)
        return self._connections[database].execute(sql).fetchall()
