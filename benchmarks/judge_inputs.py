"""The candidates that the judging benchmark judges."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mats_sql.benchmark.benchmark import Benchmark

SHARED = Path(os.environ.get("MATS_SHARED", Path(__file__).parents[2] / "shared")) / "data"
INPUTS = {"a": "BIRD-dev", "b": "Spider-dev", "c": "BIRD-dev with 2% runaways"}
_SOURCES = {
    "a": ("bird_dev.jsonl.gz", "bird/dev_databases"),
    "b": ("spider_dev.jsonl.gz", "spider/database"),
    "c": ("bird_dev.jsonl.gz", "bird/dev_databases"),
}
_SAMPLE = 31
"""(c) takes every 31st candidate of (a), so that the published procedure ends within minutes."""
_LARGEST = {"superhero": ("hero_attribute", "attribute_value"), "student_club": ("zip_code", "zip_code")}
_RUNAWAYS = (
    "SELECT count(*) FROM {t} a, {t} b, {t} c WHERE a.{c} + b.{c} > c.{c} + {n}",
    "SELECT max(a.{c} + b.{c} - c.{c}) FROM {t} a, {t} b, {t} c WHERE a.{c} <> {n}",
    "SELECT a.{c} FROM {t} a, {t} b, {t} c ORDER BY b.{c} + c.{c} - {n} DESC LIMIT 1",
    "SELECT a.{c}, b.{c}, c.{c}, {n} FROM {t} a, {t} b, {t} c",
)
"""Cartesian products of three tables of thousands of rows: minutes to hours each; no two are the same SQL."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One SQL to judge against one gold."""

    database: Path
    gold: str
    sql: str


def read_input(name: str) -> list[Candidate]:
    """Return an input's candidates, question by question."""
    file, databases = _SOURCES[name]
    candidates = []
    with gzip.open(SHARED / "candidates" / file, "rt", encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            database = SHARED / databases / item["db_id"] / f"{item['db_id']}.sqlite"
            candidates += [Candidate(database, item["gold"], sql) for sql in item["candidates"].values()]
    return _with_runaways(candidates[::_SAMPLE]) if name == "c" else candidates


def _with_runaways(candidates: list[Candidate]) -> list[Candidate]:
    """Put a runaway query in the place of every fiftieth candidate."""
    for number, position in enumerate(range(25, len(candidates), 50)):
        old = candidates[position]
        table, column = _LARGEST[old.database.stem]
        sql = _RUNAWAYS[number % len(_RUNAWAYS)].format(t=table, c=column, n=number)
        candidates[position] = Candidate(old.database, old.gold, sql)
    return candidates


def write_lab_benchmark(root: Path) -> Benchmark:
    """Generate the lab's dev split and read it."""
    from mats_sql.benchmark.bird import read_bird
    from mats_sql.config import LabSettings
    from mats_sql.lab.generator import write_lab

    write_lab(root, LabSettings(train_databases=1, train_questions=10))
    return read_bird(root, "dev")


def lab_candidates(benchmark: Benchmark, size: int) -> Iterator[Candidate]:
    """Yield ``size`` candidates for the lab's dev questions: each SQL comes about three times, as in a real pool."""
    golds = list(benchmark.golds.values())
    each = -(-size // len(golds))
    for made in range(size):
        gold, number = golds[made // each], made % each
        sql = f"SELECT * FROM ({gold.sql.rstrip('; ')}) LIMIT {number // 3}" if number % 7 else gold.sql
        yield Candidate(benchmark.databases[gold.db_id], gold.sql, sql)
