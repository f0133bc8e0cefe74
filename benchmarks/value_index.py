"""The value index of a large database: how long it takes to build, how big it gets, how fast it answers.

    python benchmarks/value_index.py                  a database of 200 MB
    python benchmarks/value_index.py --megabytes 1000

A database of that size is made for the purpose (names, towns, codes and notes from a seeded generator: most values
occur once, their words are of a vocabulary in which few are common), indexed and asked. Building and asking happen in a
process of their own each, so the peak of resident memory is theirs. The first question after opening is told apart from
the others; pages of both files may be in the system's cache.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from mats_sql.benchmark import Column, Schema, Table
from mats_sql.benchmark.value_files import kept_index
from mats_sql.file_digests import DIGESTS_FILE, FileDigests

_SYLLABLES = [consonant + vowel for consonant in "bdfghklmnprstv" for vowel in "aeiou"]
_VOCABULARY = ["".join(random.Random(number).choices(_SYLLABLES, k=2 + number % 3)) for number in range(20_000)]
_COLUMNS = (
    Column("id", "integer", primary_key=True),
    Column("full_name", "text"),
    Column("town", "text"),
    Column("code", "varchar(20)"),
    Column("note", "text"),
    Column("amount", "real"),
)
_TABLES = 8
_QUESTIONS = 200
_SCHEMA = Schema("large", tuple(Table(f"part_{number}", _COLUMNS) for number in range(_TABLES)))


def main() -> None:
    """Parse the command line, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200, help="Size of the database.")
    parser.add_argument("--folder", type=Path, help="Where the files go; default: a temporary folder.")
    parser.add_argument("--run", choices=["build", "ask"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(_build(options.folder) if options.run == "build" else _ask(options.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        _write_database(folder / "large.sqlite", options.megabytes * 1_000_000)
        size = (folder / "large.sqlite").stat().st_size
        build, ask = (_measured(run, folder) for run in ("build", "ask"))
        _print(size, build, ask)


def _measured(run: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--run", run, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _build(folder: Path) -> dict[str, float]:
    before_mib, started = _peak_mib(), time.perf_counter()
    with FileDigests(folder / DIGESTS_FILE) as digests:
        digests.digest(folder / "large.sqlite")
        digested, cpu = time.perf_counter(), time.process_time()
        kept_index(folder / "large.sqlite", _SCHEMA, digests, folder / "values")
    built = time.perf_counter()
    (written,) = (folder / "values").glob("*.sqlite")
    return {
        "digest_s": digested - started,
        "build_s": built - digested,
        "build_cpu_s": time.process_time() - cpu,
        "index_bytes": written.stat().st_size,
        "before_mib": before_mib,
        "peak_mib": _peak_mib(),
    }


def _ask(folder: Path) -> dict[str, float]:
    rng = random.Random("questions")
    started = time.perf_counter()
    with FileDigests(folder / DIGESTS_FILE) as digests:
        index = kept_index(folder / "large.sqlite", _SCHEMA, digests, folder / "values")
    opened = time.perf_counter()
    took = []
    for _ in range(_QUESTIONS):
        text = f"How much did {_name(rng)} from {_name(rng)} pay under {_code(rng)} for {_word(rng)} and {_word(rng)}?"
        begun = time.perf_counter()
        index.retrieve(text, 2)
        took.append(1000 * (time.perf_counter() - begun))
    return {
        "open_ms": 1000 * (opened - started),
        "first_ms": took[0],
        "median_ms": statistics.median(took[1:]),
        "p95_ms": statistics.quantiles(took[1:], n=20)[-1],
        "peak_mib": _peak_mib(),
    }


def _print(size: int, build: dict[str, float], ask: dict[str, float]) -> None:
    table = RichTable("measure", "value", title="value index on disk")
    table.add_row("database", f"{size / 1e6:.0f} MB, {_TABLES * 4} text columns")
    table.add_row("digest of the database, once", f"{build['digest_s']:.2f} s")
    table.add_row("build, once", f"{build['build_s']:.1f} s ({build['build_cpu_s']:.1f} s of CPU)")
    table.add_row("index file", f"{build['index_bytes'] / 1e6:.0f} MB")
    table.add_row("peak memory while building", f"{build['peak_mib']:.0f} MiB ({build['before_mib']:.0f} before)")
    table.add_row("open a kept index", f"{ask['open_ms']:.1f} ms")
    table.add_row("first question", f"{ask['first_ms']:.1f} ms")
    table.add_row(f"{_QUESTIONS - 1} more questions, median", f"{ask['median_ms']:.1f} ms")
    table.add_row(f"{_QUESTIONS - 1} more questions, 95th percentile", f"{ask['p95_ms']:.1f} ms")
    table.add_row("peak memory while asking", f"{ask['peak_mib']:.0f} MiB")
    Console().print(table)


def _peak_mib() -> float:
    """Return the process's own peak (VmHWM): unlike ``getrusage`` it does not begin with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _write_database(path: Path, size: int) -> None:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    columns = ", ".join(f"{column.name} {column.type}" for column in _COLUMNS)
    for table in _SCHEMA.tables:
        connection.execute(f"CREATE TABLE {table.name} ({columns})")
    rng, written = random.Random("rows"), 0
    while written * 110 < size:  # a row takes some 110 bytes
        for table in _SCHEMA.tables:
            connection.executemany(f"INSERT INTO {table.name} VALUES (?, ?, ?, ?, ?, ?)", _rows(rng, 5000, written))
            written += 5000
        connection.commit()
    connection.close()


def _rows(rng: random.Random, count: int, first: int) -> Iterator[tuple[object, ...]]:
    for number in range(first, first + count):
        note = " ".join(_word(rng) for _ in range(6))
        yield number, _name(rng), f"{_word(rng)} {rng.choice(('hill', 'end', 'north'))}", _code(rng), note, rng.random()


def _name(rng: random.Random) -> str:
    return f"{_word(rng)} {_word(rng)}".title()


def _code(rng: random.Random) -> str:
    return f"{rng.randrange(1_000_000):06d}-{rng.randrange(1000):03d}"


def _word(rng: random.Random) -> str:
    return _VOCABULARY[int(len(_VOCABULARY) * rng.random() ** 3)]


if __name__ == "__main__":
    main()
