"""Value indexes on disk: the answers of bm25s, one file per content, whole or absent, in bounded memory."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.benchmark import value_files, value_writer
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Column, Schema, Table
from mats_sql.benchmark.value_files import kept_index
from mats_sql.benchmark.values import ValueIndex
from mats_sql.benchmark.words import tokenize
from mats_sql.errors import DatabaseError, StageInputError
from mats_sql.file_digests import FileDigests

SCHEMA = Schema(
    "a",
    (
        Table("one", (Column("x", "text"), Column("y", "varchar(9)"), Column("n", "integer"))),
        Table("a two", (Column("select", "text"),)),
    ),
)
QUESTION = "Who lives in North Hill?"


def write(path: Path, one: list[tuple[object, object]], two: list[object]) -> Path:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE one (x TEXT, y TEXT, n INTEGER)")
        connection.execute("CREATE TABLE `a two` (`select` TEXT)")
        connection.executemany("INSERT INTO one VALUES (?, ?, 1)", one)
        connection.executemany("INSERT INTO `a two` VALUES (?)", [(value,) for value in two])
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write(tmp_path / "a.sqlite", [("North Hill", "Hill"), ("South", None)], ["Hill End", "North"])


def kept(database: Path, folder: Path, schema: Schema = SCHEMA) -> ValueIndex:
    with FileDigests(folder / "digests.sqlite") as digests:
        return kept_index(database, schema, digests, folder / "values")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "values").iterdir())


def in_memory(values: list[object], text: str, per_column: int) -> tuple[str, ...]:
    """Return what bm25s retrieves from a column of these values, sorted: the reference."""
    kept_values = sorted({v for v in values if isinstance(v, str) and 1 <= len(v) <= 50 and v.isprintable()})
    documents = [value for value in kept_values if tokenize(value)]
    known = {word for value in documents for word in tokenize(value)}
    words = [word for word in sorted(set(tokenize(text))) if word in known]
    if not words:
        return ()
    reference = bm25s.BM25()
    reference.index([tokenize(value) for value in documents], show_progress=False)
    scores = reference.get_scores(words)
    hits = np.flatnonzero(scores > 0)
    return tuple(documents[position] for position in hits[np.argsort(-scores[hits], kind="stable")[:per_column]])


WORDS = st.sampled_from(["north", "Hill", "END", "élan", "x1", "of", "-", "hill hill", "straße", "山", "a_b"])
VALUES = st.lists(WORDS, max_size=5).map(" ".join) | st.none() | st.integers(0, 9) | st.text(max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    one=st.lists(st.tuples(VALUES, VALUES), max_size=12),
    two=st.lists(VALUES, max_size=12),
    question=st.lists(WORDS, max_size=6).map(" ".join) | st.text(max_size=20),
    per_column=st.integers(0, 4),
    part=st.sampled_from([1, 2, 4096]),
)
def test_an_index_on_disk_answers_as_one_of_bm25s_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    one: list[tuple[object, object]],
    two: list[object],
    question: str,
    per_column: int,
    part: int,
) -> None:
    folder = tmp_path_factory.mktemp("values")
    database = write(folder / "a.sqlite", one, two)
    columns = {("one", "x"): [x for x, _ in one], ("one", "y"): [y for _, y in one], ("a two", "select"): two}
    # a TEXT column stores a number as text
    stored = {name: [str(v) if isinstance(v, int) else v for v in values] for name, values in columns.items()}
    expected = {name: in_memory(values, question, per_column) for name, values in stored.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(value_writer, "PART", part)
        patch.setattr(value_writer, "_BATCH", part)
        built, written = ValueIndex.build(database, SCHEMA), kept(database, folder)
    found = {name: values for name, values in expected.items() if values}
    assert built.retrieve(question, per_column) == written.retrieve(question, per_column) == found


def test_no_more_than_the_first_distinct_values_of_a_column_are_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(value_writer, "MAX_VALUES_PER_COLUMN", 2)
    database = write(
        tmp_path / "a.sqlite", [("z word", None), ("z word", None), ("y word", None), ("a word", None)], []
    )
    assert ValueIndex.build(database, SCHEMA).retrieve("word", 9) == {("one", "x"): ("y word", "z word")}


def test_an_index_is_written_once_and_found_under_another_path(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept(database, tmp_path).retrieve(QUESTION, 2)
    monkeypatch.setattr(value_files, "write_index", None)  # whoever writes again fails
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(database.read_bytes())
    assert kept(copy, tmp_path).retrieve(QUESTION, 2) == kept(database, tmp_path).retrieve(QUESTION, 2) == first
    assert len(files(tmp_path)) == 1


def test_a_changed_database_or_another_set_of_columns_has_another_index(database: Path, tmp_path: Path) -> None:
    before = kept(database, tmp_path)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO one VALUES ('North Pole', 'x', 1)")
    assert ("North Pole" in kept(database, tmp_path).retrieve("North Pole", 1)["one", "x"]) is True
    assert "North Pole" not in before.retrieve("North Pole", 1)["one", "x"]
    narrower = Schema("a", (Table("one", (Column("x", "text"),)),))
    assert kept(database, tmp_path, narrower).retrieve("North End", 2).keys() == {("one", "x")}
    assert len(files(tmp_path)) == 3


def test_builders_at_one_time_leave_one_whole_file(database: Path, tmp_path: Path) -> None:
    expected = ValueIndex.build(database, SCHEMA).retrieve(QUESTION, 2)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(kept(database, tmp_path).retrieve(QUESTION, 2))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6
    assert [name.endswith(".sqlite") for name in files(tmp_path)] == [True]


def test_a_builder_that_fails_leaves_nothing(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(value_writer, "tokenize", dies)
    with pytest.raises(KeyboardInterrupt):
        kept(database, tmp_path)
    assert files(tmp_path) == []
    monkeypatch.undo()
    assert kept(database, tmp_path).retrieve(QUESTION, 1)["one", "x"] == ("North Hill",)


def test_a_damaged_file_is_written_again(database: Path, tmp_path: Path) -> None:
    first = kept(database, tmp_path).retrieve(QUESTION, 2)
    (path,) = (tmp_path / "values").iterdir()
    path.write_bytes(b"not a database" * 100)
    assert kept(database, tmp_path).retrieve(QUESTION, 2) == first


def test_what_cannot_be_read_or_written_is_named(database: Path, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"none\.sqlite: No such file"):
        kept(tmp_path / "none.sqlite", tmp_path)
    (tmp_path / "values").write_text("a file where the folder should be")
    with pytest.raises(StageInputError, match=r"value indexes must be kept in a writable folder, but .*values: "):
        kept(database, tmp_path)


def test_a_question_with_half_a_surrogate_pair_finds_the_rest(database: Path) -> None:
    assert ValueIndex.build(database, SCHEMA).retrieve("\ud800 North", 1)["a two", "select"] == ("North",)


PROGRAM = """
import resource, sys
from pathlib import Path
from mats_sql.benchmark.schema import Column, Schema, Table
from mats_sql.benchmark.value_writer import write_index
import mats_sql.benchmark.values
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
write_index(Path(sys.argv[1]), Schema("a", (Table("t", (Column("x", "text"),)),)), None).close()
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_number_of_values(tmp_path: Path) -> None:
    grown = []
    for count in (20_000, 120_000):
        path = tmp_path / f"{count}.sqlite"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE t (x TEXT)")
            rows = ((f"name{number} town{number % 997} {number * 7919} words of it",) for number in range(count))
            connection.executemany("INSERT INTO t VALUES (?)", rows)
        command = [sys.executable, "-c", PROGRAM, str(path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        grown.append(int(done.stdout) / 1024)
    assert grown[1] < grown[0] + 12, f"MiB for 20,000 and 120,000 values: {grown}"


def test_questions_are_answered_from_the_kept_index(bird_folder, tmp_path: Path) -> None:
    from mats_sql.benchmark.bird import read_bird
    from mats_sql.benchmark.prompts import SchemaTexts
    from mats_sql.config import BenchmarkSettings

    benchmark = read_bird(bird_folder.write(), "dev")
    question: Question = benchmark.questions[0]
    free, held = (SchemaTexts(benchmark, BenchmarkSettings(), cache) for cache in (None, tmp_path / "cache"))
    assert held.text_for(question) == free.text_for(question)
    assert len(list((tmp_path / "cache" / "values").glob("*.sqlite"))) == 1
