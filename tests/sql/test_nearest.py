"""Nearest values: what is said of a literal is true of the database, and an execution is otherwise the same."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.config import SqlLimits
from mats_sql.sql import Execution, Judge, JudgeItem, Nearest, Outcome, SqlExecutor, SqlRequest, nearest_values
from mats_sql.sql.sandbox.nearest import MAX_LITERALS, MAX_SQL_CHARACTERS, MAX_VALUES, StoredValues
from tests.sql.conftest import SMALL
from tests.sql.hostile_cases import hostile_cases

SCHEMA = """
CREATE TABLE album (id INTEGER PRIMARY KEY, genre TEXT, "Ticket Price" TEXT, artist_id INTEGER, year INTEGER);
CREATE TABLE artist (id INTEGER PRIMARY KEY, name TEXT, genre TEXT COLLATE NOCASE);
CREATE TABLE "a""b" ("c""d" TEXT);
CREATE VIEW jazz AS SELECT id, genre AS kind FROM album;
INSERT INTO album VALUES (1, 'JAZ', 'cheap', 1, 2000), (2, 'Rock', 'dear', 1, 2001), (3, 'O''Brien', NULL, 2, 2002);
INSERT INTO artist VALUES (1, 'Ann', 'POP'), (2, 'Bo', 'Folk');
INSERT INTO "a""b" VALUES ('hard');
CREATE TABLE shop (spent1 INTEGER, spent2 INTEGER);
INSERT INTO shop VALUES (0, 7), (0, 8);
CREATE TABLE fair (spent INTEGER);
CREATE TABLE stall (
    shopper TEXT, fair_id INTEGER, fair_ref INTEGER,
    kept_id INTEGER REFERENCES nowhere, stand_id INTEGER REFERENCES stand,
    FOREIGN KEY (fair_id) REFERENCES FAIR (spent), FOREIGN KEY (fair_ref) REFERENCES fair (spent)
);
CREATE TABLE stand (id INTEGER PRIMARY KEY);
INSERT INTO fair VALUES (11), (12);
INSERT INTO stall VALUES ('Ann', 99, 11, 1, 5), ('Bo', 98, 12, 2, 6);
"""
JAZZ = ("album", "genre", "jazz", ("JAZ",))
ROCK = ("album", "genre", "rock", ("Rock",))
NAMED = [
    ("SELECT * FROM album WHERE genre = 'jazz'", [JAZZ]),
    ("select * from ALBUM where GENRE=='jazz';", [JAZZ]),
    ("SELECT * FROM main.album WHERE genre IN ('jazz', 'Rock', 'rock')", [JAZZ, ROCK]),
    ("SELECT * FROM album AS T1 WHERE T1.genre = 'jazz' OR T1.genre = 'jazz'", [JAZZ]),
    ("SELECT * FROM artist a, album b WHERE b.genre = 'jazz'", [JAZZ]),
    ("SELECT * FROM artist JOIN album ON album.artist_id = artist.id AND album.genre = 'jazz'", [JAZZ]),
    ("SELECT sum(CASE WHEN genre = 'jazz' THEN 1 ELSE 0 END) FROM album", [JAZZ]),
    ("SELECT * FROM album WHERE NOT (genre = 'jazz') -- genre = 'rock'", [JAZZ]),
    ("SELECT * FROM album b WHERE b.genre <> 'jazz' AND b.genre!='rock'", [JAZZ, ROCK]),
    ("SELECT * FROM album WHERE genre NOT IN ('jazz', 'rock')", [JAZZ, ROCK]),
    ("SELECT * FROM album WHERE `genre` = 'jazz' /* genre = 'rock' */ AND [genre] = 'rock'", [JAZZ, ROCK]),
    ("SELECT * FROM album WHERE \"Ticket Price\" = 'chep'", [("album", "Ticket Price", "chep", ("cheap",))]),
    ("SELECT * FROM album WHERE genre = 'O''Brian'", [("album", "genre", "O'Brian", ("O'Brien",))]),
    ('SELECT * FROM "a""b" WHERE "c""d" = \'heart\'', [('a"b', 'c"d', "heart", ("hard",))]),
    ("SELECT * FROM artist WHERE id IN (SELECT artist_id FROM album WHERE genre = 'jazz')", [JAZZ]),
    ("SELECT * FROM artist T1 WHERE id = (SELECT max(id) FROM album T1 WHERE T1.genre = 'jazz')", [JAZZ]),
    ("SELECT * FROM artist WHERE EXISTS (SELECT 1 FROM album WHERE name = 'An')", [("artist", "name", "An", ("Ann",))]),
    ("SELECT id FROM artist UNION SELECT id FROM album WHERE genre = 'jazz'", [JAZZ]),
    ("WITH x AS (SELECT * FROM album WHERE genre = 'jazz') SELECT * FROM x", [JAZZ]),
]
PASSED_OVER = [
    "SELECT * FROM album",
    "SELECT * FROM album WHERE genre = 'JAZ'",
    "SELECT * FROM artist WHERE genre = 'pop'",
    "SELECT * FROM album WHERE genre = 'qqq'",
    "SELECT * FROM album WHERE genre = ''",
    "SELECT * FROM album WHERE genre < 'jazz' OR genre >= 'jazz' OR genre LIKE 'jazz' OR genre IS NOT 'jazz'",
    "SELECT * FROM album WHERE genre IN ('jazz', 'ro' || 'ck')",
    "SELECT * FROM album WHERE genre = 'ja' || 'zz' OR 'x' || genre = 'jazz' OR lower(genre) = 'jazzy'",
    "SELECT * FROM album WHERE genre = 'jaz' COLLATE NOCASE OR genre COLLATE NOCASE = 'jaz'",
    "SELECT * FROM album WHERE year = '2000' OR year = '1999'",
    "SELECT 'genre = ''jazz''' FROM album",
    "SELECT * FROM album WHERE genre = 'two\nlines'",
    "SELECT * FROM album WHERE genre = '" + "jazz" * 20 + "'",
    "SELECT * FROM jazz WHERE kind = 'jaz'",
    "SELECT * FROM (SELECT genre AS kind FROM album) AS t WHERE t.kind = 'jazz'",
]
AN = ("artist", "name", "An", ("Ann",))
FAILED = [
    ("SELECT x FROM album WHERE genre = 'jazz'", [JAZZ]),
    ("SELECT * FROM artist a JOIN album b ON a.artist_id = b.id WHERE b.genre = 'jazz'", [JAZZ]),
    ("SELECT * FROM artist AS a JOIN album AS b ON 1 = 1 WHERE b.name = 'An'", [AN]),
    ("SELECT * FROM album WHERE name = 'An'", [AN]),
    ("SELECT * FROM songs WHERE name = 'An'", [AN]),
    ("SELECT * FROM songs WHERE genre = 'jazz'", []),
    ("SELECT * FROM album WHERE genre1 = 'jazz'", []),
    ("SELECT * FROM WHERE name = 'An'", [AN]),
]
"""SQL that does not run, and what is named of it: where no table of it has the column, the only one that has."""
LIKE_MISSING = [
    ("SELECT years FROM album", ["album.year"]),
    ("SELECT T1.genre1 FROM album AS T1", ["album.genre", "album.id"]),
    ("SELECT genre1 FROM artist", ["artist.genre", "album.genre"]),
    ("SELECT * FROM artist JOIN album ON artist.album_id = album.id", ["album.artist_id", "artist.id"]),
    ("SELECT album.name FROM album JOIN artist ON album.artist_id = artist.id", ["artist.name", "album.id"]),
    ("SELECT name FROM album", ["artist.name"]),
    ("SELECT prices FROM album", ["album.`Ticket Price`"]),
    ("SELECT spent FROM shop", ["shop.spent2", "shop.spent1"]),
    ("SELECT * FROM fair JOIN stall ON fair.stall_id = stall.shopper", ["stall.fair_ref", "stall.fair_id"]),
    ("SELECT stall.fair_refs FROM stall", ["stall.fair_ref", "stall.fair_id"]),
    ("SELECT stall.stands_id FROM stall", ["stall.stand_id", "stall.fair_ref"]),
    ("SELECT zzz FROM album", []),
    ("SELECT * FROM album WHERE zzz = 'jazz'", ["album.genre"]),
    ("SELECT * FROM album WHERE zzz = 'qqq'", []),
    ("SELECT * FROM album WHERE zzz IN ('jazz', 'roc')", ["album.genre"]),
    ("SELECT * FROM album WHERE zzz = '2000'", []),
    ("SELECT * FROM album WHERE name = 'cheep'", ["album.`Ticket Price`", "artist.name"]),
    ("SELECT * FROM album WHERE years = 'jazz'", ["album.genre", "album.year"]),
    ("SELECT * FROM artist b JOIN album a ON a.artist_id = b.id WHERE a.name = 'Bo'", ["artist.name", "album.id"]),
    ("SELECT * FROM album WHERE artist.genre = 'jazz'", ["album.genre", "album.artist_id"]),
    ("SELECT * FROM artist JOIN album ON 1 = 1 WHERE zzz = 'jazz' OR zzz = 'folk'", ["artist.genre"]),
    ("SELECT id FROM albums", ["album", '`a"b`']),
    ("SELECT id FROM main.artists JOIN album", ["artist", '`a"b`']),
    ("SELECT id FROM a_b", ['`a"b`', "album"]),
    ("SELECT id FROM zzz", []),
    ("SELECT id FROM artist, album", []),
    ("SELECT FROM album", []),
]
"""SQL that does not run, and the two columns or tables at most that are most like the one it misses.

Own ones come first, and before them those that hold the texts it is compared with."""
PARTS = ["[", "'", '"', "`", "(", ")", "a=", "a='", "genre='a' or ", "a in ('a',", "from album ", "album,", "/*"]
WORDS = st.lists(st.text("abAB 'é", max_size=4), max_size=8)


@pytest.fixture
def music() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        yield connection


@pytest.fixture
def music_file(tmp_path: Path) -> Path:
    """The same music, and a table that takes many steps to read."""
    path = tmp_path / "music.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        connection.execute("CREATE TABLE long (id INTEGER PRIMARY KEY, code TEXT)")
        connection.executemany("INSERT INTO long (code) VALUES (?)", ([f"c{n % 100}"] for n in range(50_000)))
        connection.commit()
    return path


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def holding(texts: list[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (c TEXT)")
    connection.executemany("INSERT INTO t VALUES (?)", ([text] for text in texts))
    return connection


@pytest.mark.parametrize(("sql", "named"), NAMED)
def test_a_literal_that_no_row_has_is_named_with_its_nearest_value(
    music: sqlite3.Connection, sql: str, named: list[Nearest]
) -> None:
    music.execute(sql)
    assert list(nearest_values(music, sql, 1)) == named


@pytest.mark.parametrize("sql", PASSED_OVER)
def test_what_is_stored_resembles_nothing_or_is_no_plain_comparison_is_passed_over(
    music: sqlite3.Connection, sql: str
) -> None:
    music.execute(sql)
    assert nearest_values(music, sql, 1) == ()


@pytest.mark.parametrize(("sql", "named"), FAILED)
def test_a_sql_that_does_not_run_has_its_literals_named_where_their_column_can_be_told(
    music: sqlite3.Connection, sql: str, named: list[Nearest]
) -> None:
    with pytest.raises(sqlite3.Error):
        music.execute(sql)
    assert list(nearest_values(music, sql, 1, failed=True)) == named


@pytest.mark.parametrize(("sql", "columns"), LIKE_MISSING)
def test_an_error_that_misses_a_column_or_a_table_names_those_most_like_it(
    music: sqlite3.Connection, music_file: Path, sql: str, columns: list[str]
) -> None:
    with pytest.raises(sqlite3.Error) as raised:
        music.execute(sql)
    named, _ = StoredValues(music).way_out(sql, str(raised.value), 2)
    assert named == " , nearest ".join([str(raised.value), *([" , ".join(columns)] if columns else [])])
    [execution] = run(SMALL, music_file, sql)
    assert execution.error == " , nearest ".join([str(raised.value), *columns[:1]])


@given(WORDS, WORDS, st.integers(0, 3))
def test_no_stored_literal_is_named_and_every_named_value_is_stored(
    stored: list[str], asked: list[str], count: int
) -> None:
    sql = f"SELECT * FROM t WHERE c IN ({', '.join(map(quoted, asked))})"
    with closing(holding(stored)) as connection:
        for table, column, literal, values in nearest_values(connection, sql, count):
            assert (table, column) == ("t", "c")
            assert literal in asked
            assert literal not in stored
            assert 1 <= len(values) <= count
            assert set(values) <= set(stored)
            assert len(set(values)) == len(values)


@given(WORDS, st.text("abAB ", min_size=1, max_size=4), st.randoms())
def test_the_order_of_rows_and_the_number_asked_for_change_no_value(
    stored: list[str], asked: str, rng: random.Random
) -> None:
    sql, shuffled = f"SELECT * FROM t WHERE c = {quoted(asked)}", rng.sample(stored, len(stored))
    with closing(holding(stored)) as first, closing(holding(shuffled)) as second:
        three = nearest_values(first, sql, 3)
        assert nearest_values(second, sql, 3) == three
        assert nearest_values(second, sql, 1) == tuple(one._replace(values=one.values[:1]) for one in three)


@given(st.text(st.sampled_from("'\"`[]().,;=- \n\0\ud800*/aé1") | st.characters(), max_size=40))
def test_no_text_at_all_makes_it_fail(text: str) -> None:
    with closing(holding(["a"])) as connection:
        for sql in (text, f"SELECT * FROM t WHERE c = '{text}", f"{text} FROM t WHERE c = 'b'", f"a = 'b' FROM {text}"):
            assert len(nearest_values(connection, sql, 1)) <= MAX_LITERALS


@pytest.mark.parametrize("part", PARTS)
def test_no_text_takes_long_to_read(music: sqlite3.Connection, part: str) -> None:
    sql = (f"SELECT 1 FROM {part * MAX_SQL_CHARACTERS}")[:MAX_SQL_CHARACTERS]
    began = time.process_time()
    nearest_values(music, sql, 1)
    assert time.process_time() - began < 2


def test_columns_of_too_many_texts_too_many_literals_and_too_long_sql_are_left_out() -> None:
    texts = [f"a{n}" for n in range(MAX_VALUES + 1)]
    many = "SELECT * FROM t WHERE c IN (" + ", ".join(f"'b{n}'" for n in range(20)) + ")"
    for number, expected in ((MAX_VALUES, MAX_LITERALS), (MAX_VALUES + 1, 0)):
        with closing(holding([*texts[: number - 1], "b"])) as connection:
            assert len(nearest_values(connection, many, 1)) == expected
            assert nearest_values(connection, many + " " * MAX_SQL_CHARACTERS, 1) == ()


def run(limits: SqlLimits, database: Path, *sqls: str) -> list[Execution]:
    with SqlExecutor(limits, workers=1) as executor:
        return list(executor.execute_many(SqlRequest(database, sql) for sql in sqls))


def test_an_execution_names_them_whether_it_has_rows_or_none_or_fails(music_file: Path) -> None:
    sqls = [f"SELECT {what} FROM album WHERE genre = 'jazz'" for what in ("id", "count(*)", "x")]
    found = run(SMALL, music_file, *sqls)
    assert [execution.outcome for execution in found] == [Outcome.EMPTY, Outcome.ROWS, Outcome.ERROR]
    assert [execution.nearest for execution in found] == [(Nearest(*JAZZ),)] * 3


def test_naming_them_changes_nothing_else_of_any_execution(odd_database: Path, music_file: Path) -> None:
    fine = [sql for sql, outcome in hostile_cases() if outcome in (Outcome.ROWS, Outcome.EMPTY, Outcome.REFUSED)]
    steady = [sql for sql in fine if "random" not in sql and "now" not in sql and "current" not in sql]
    for database, sqls in ((odd_database, steady), (music_file, [*(sql for sql, _ in NAMED), *PASSED_OVER])):
        off = run(SMALL.model_copy(update={"nearest_values": 0}), database, *sqls)
        on = run(SMALL, database, *sqls)
        assert not any(execution.nearest for execution in off)
        same = [
            replace(
                execution, nearest=(), retried=None, tried="", elapsed_s=0.0, error=execution.error.partition(" , ")[0]
            )
            for execution in on
        ]
        assert same == [replace(execution, elapsed_s=0.0) for execution in off]


def test_a_look_that_takes_too_many_steps_names_nothing_and_leaves_the_outcome(music_file: Path) -> None:
    slow, quick, refused = "SELECT * FROM long WHERE id = 1 AND code = 'c'", NAMED[0][0], "DROP TABLE long"
    for steps, named in ((50_000, [False, True, False]), (10_000_000, [True, True, False])):
        found = run(SMALL.model_copy(update={"max_steps": steps}), music_file, slow, quick, refused)
        assert [execution.outcome for execution in found] == [Outcome.EMPTY, Outcome.EMPTY, Outcome.REFUSED]
        assert [bool(execution.nearest) for execution in found] == named


def test_only_so_many_literals_of_a_missing_column_are_looked_for() -> None:
    for held, named in ((MAX_LITERALS, ["t.c"]), (0, [])):
        listed = [f"'ab{n}'" for n in range(held)] + [f"'xyz{n}'" for n in range(1000)]
        sql = f"SELECT * FROM t WHERE zzz IN ({', '.join(listed)})"
        with closing(holding(["abc"])) as connection:
            error = StoredValues(connection).way_out(sql, "no such column: zzz", 1).error
        assert error == " , nearest ".join(["no such column: zzz", *named])


def test_where_looking_for_a_missing_columns_texts_takes_too_many_steps_a_like_name_is_told(music_file: Path) -> None:
    for steps, named in ((50_000, "long.id"), (10_000_000, "long.code")):
        limits = SMALL.model_copy(update={"max_steps": steps})
        [execution] = run(limits, music_file, "SELECT * FROM long WHERE ids = 'c1'")
        assert execution.error == f"no such column: ids , nearest {named}"


def test_a_kept_execution_still_has_them_and_a_gold_has_none(music_file: Path, tmp_path: Path) -> None:
    sql = "SELECT * FROM album WHERE genre = 'jazz'"
    items = [JudgeItem(music_file, "SELECT * FROM artist WHERE name = 'An'", sql)]
    for executed in (2, 0):
        with SqlExecutor(SMALL, workers=1) as executor, Judge(executor, tmp_path / "cache") as judge:
            [(execution, judgement)] = judge.execute_and_judge(items)
            assert judge.executed == executed
            assert execution.nearest == (Nearest(*JAZZ),)
            assert judgement.correct, "both are empty"
            assert next(judge.execute_gold(items)).nearest == ()


def test_a_database_that_cannot_be_read_as_text_names_nothing(tmp_path: Path) -> None:
    path = tmp_path / "latin.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (c TEXT)")
        connection.execute("INSERT INTO t VALUES (CAST(x'6ae9' AS TEXT))")
        connection.commit()
    [execution] = run(SMALL, path, "SELECT 1 FROM t WHERE c = 'jé'")
    assert (execution.outcome, execution.nearest) == (Outcome.EMPTY, ())
