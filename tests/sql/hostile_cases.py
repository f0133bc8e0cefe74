"""Hostile and odd SQL with the outcome each must have: a table, read by the executor's tests and by the soak.

The database is :func:`write_odd_database`'s. ``ERROR`` means that SQLite or Python refuses the text itself.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mats_sql.sql.execution import Outcome

ROWS, EMPTY, ERROR = Outcome.ROWS, Outcome.EMPTY, Outcome.ERROR
TIMEOUT, TOO_BIG, REFUSED = Outcome.TIMEOUT, Outcome.TOO_BIG, Outcome.REFUSED

_DEEP = 100_000
_LOOP = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) "

WRITES = [
    "INSERT INTO hero VALUES (9, 'x', 1.0)",
    "INSERT OR REPLACE INTO hero VALUES (1, 'x', 1.0)",
    "REPLACE INTO hero VALUES (1, 'x', 1.0)",
    "INSERT INTO hero SELECT * FROM hero",
    "INSERT INTO hero DEFAULT VALUES",
    "INSERT INTO hero VALUES (9, 'x', 1.0) RETURNING id",
    "UPDATE hero SET name = 'x'",
    "UPDATE hero SET name = 'x' WHERE id = 1 RETURNING *",
    "DELETE FROM hero",
    "DELETE FROM hero WHERE id = 1 RETURNING name",
    "WITH x AS (SELECT 1) DELETE FROM hero",
    "WITH x AS (SELECT 1) INSERT INTO hero SELECT 9, 'x', 1.0 FROM x",
    "DROP TABLE hero",
    "DROP TABLE IF EXISTS hero",
    "DROP VIEW tall",
    "DROP INDEX hero_name",
    "CREATE TABLE x (a)",
    "CREATE TABLE x AS SELECT * FROM hero",
    "CREATE TEMP TABLE x (a)",
    "CREATE TEMPORARY TABLE x AS SELECT 1",
    "CREATE VIEW x AS SELECT 1",
    "CREATE TEMP VIEW x AS SELECT 1",
    "CREATE INDEX x ON hero (height)",
    "CREATE TRIGGER x AFTER INSERT ON hero BEGIN DELETE FROM hero; END",
    "CREATE TEMP TRIGGER x AFTER INSERT ON hero BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE x USING fts5(a)",
    "CREATE VIRTUAL TABLE temp.x USING rtree(a, b, c)",
    "ALTER TABLE hero RENAME TO villain",
    "ALTER TABLE hero ADD COLUMN x",
    "ALTER TABLE hero DROP COLUMN name",
    "REINDEX",
    "REINDEX hero",
    "ANALYZE",
    "ANALYZE hero",
    "EXPLAIN DELETE FROM hero",
    "EXPLAIN QUERY PLAN DROP TABLE hero",
]
FILES = [
    "ATTACH ':memory:' AS x",
    "ATTACH DATABASE '/tmp/mats_sql_hostile.db' AS x",
    "ATTACH 'file:/etc/passwd?mode=ro' AS x",
    "ATTACH (SELECT '/tmp/mats_sql_hostile.db') AS x",
    "DETACH main",
    "VACUUM",
    "VACUUM main",
    "VACUUM INTO '/tmp/mats_sql_hostile.db'",
    "VACUUM main INTO '/tmp/mats_sql_hostile.db'",
    "SELECT load_extension('/tmp/x.so')",
    "SELECT load_extension('x', 'y') FROM hero",
    "SELECT LOAD_EXTENSION('x')",
    "SELECT 1 WHERE load_extension('x') IS NULL",
    "WITH x AS (SELECT load_extension('x')) SELECT * FROM x",
    "SELECT fts3_tokenizer('simple')",
    "SELECT fts3_tokenizer('x', x'0000000000000000')",
    "SELECT sqlite_log(1, 'x')",
    "SELECT sql FROM sqlite_stmt",
    "SELECT * FROM pragma_database_list",
]
TRANSACTIONS = ["BEGIN", "BEGIN EXCLUSIVE", "COMMIT", "END", "ROLLBACK", "SAVEPOINT x", "RELEASE x", "ROLLBACK TO x"]
PRAGMAS = [
    "PRAGMA journal_mode = WAL",
    "PRAGMA journal_mode",
    "PRAGMA writable_schema = 1",
    "PRAGMA query_only = OFF",
    "PRAGMA hard_heap_limit = 0",
    "PRAGMA soft_heap_limit = 0",
    "PRAGMA temp_store = FILE",
    "PRAGMA temp_store_directory = '/tmp'",
    "PRAGMA cache_size = -1000000",
    "PRAGMA mmap_size = 1000000000",
    "PRAGMA case_sensitive_like = 1",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 7",
    "PRAGMA schema_version = 7",
    "PRAGMA encoding = 'UTF-16'",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = ON",
    "PRAGMA database_list",
    "PRAGMA integrity_check",
    "PRAGMA quick_check",
    "PRAGMA wal_checkpoint",
    "PRAGMA incremental_vacuum",
    "PRAGMA optimize",
    "PRAGMA shrink_memory",
    "PRAGMA threads = 8",
    "PRAGMA data_store_directory = '/tmp'",
]
SCHEMA_READS = [
    ("PRAGMA table_info(hero)", ROWS),
    ("PRAGMA table_info('nothing')", EMPTY),
    ("PRAGMA foreign_key_list(hero)", EMPTY),
    ("PRAGMA index_list(hero)", ROWS),
    ("PRAGMA table_list", ROWS),
    ("PRAGMA user_version", ROWS),
    ("SELECT * FROM pragma_table_info('hero')", ROWS),
    ("SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p", ROWS),
    ("SELECT name FROM pragma_function_list WHERE name = 'load_extension'", ROWS),
    ("SELECT name, sql FROM sqlite_master", ROWS),
    ("SELECT * FROM sqlite_schema", ROWS),
    ("SELECT * FROM sqlite_temp_master", EMPTY),
    ("EXPLAIN SELECT * FROM hero", ROWS),
    ("EXPLAIN QUERY PLAN SELECT * FROM hero", ROWS),
]
ENDLESS = [
    _LOOP + "SELECT count(*) FROM r",
    _LOOP + "SELECT max(i) FROM r WHERE i < 0",
    "WITH RECURSIVE r(i) AS (SELECT 1 UNION SELECT (i * 7919 + 1) % 100000007 FROM r) SELECT count(*) FROM r",
    "SELECT count(*) FROM many a, many b, many c",
    "SELECT sum(a.i * b.i) FROM many a CROSS JOIN many b CROSS JOIN many c",
    "SELECT a.i FROM many a, many b, many c ORDER BY a.i + b.i + c.i LIMIT 1",
    "SELECT 1 FROM many a, many b, many c WHERE a.i + b.i + c.i < 0",
    "SELECT count(*) FROM many a LEFT JOIN many b ON b.i <> a.i LEFT JOIN many c ON c.i <> a.i",
    "SELECT sum((SELECT count(*) FROM many b, many c WHERE b.i <> a.i)) FROM many a",
    _LOOP + "SELECT group_concat(printf('%1000d', i)) FROM r",
    "SELECT count(*) FROM many a WHERE NOT EXISTS (SELECT 1 FROM many b, many c WHERE b.i + c.i = -a.i)",
    _LOOP + "SELECT 1 FROM r WHERE i = -1 LIMIT 1",
]
TOO_LARGE = [
    _LOOP + "SELECT i FROM r",
    "SELECT a.i, b.i FROM many a, many b",
    "SELECT hex(zeroblob(400000000))",
    "SELECT zeroblob(900000000)",
    "SELECT randomblob(900000000)",
    "SELECT length(zeroblob(20000000))",
    "SELECT replace(hex(zeroblob(500000)), '0', hex(zeroblob(500)))",
    "SELECT replace(printf('%.*c', 100000, 'x'), 'x', printf('%.*c', 100000, 'y'))",
    "SELECT group_concat(hex(zeroblob(100000))) FROM many",
    "SELECT json_group_array(hex(zeroblob(100000))) FROM many",
    "SELECT quote(zeroblob(15000000))",
    "SELECT hex(hex(hex(zeroblob(4000000))))",
    "WITH RECURSIVE r(s) AS (SELECT 'xxxxxxxx' UNION ALL SELECT s || s FROM r) SELECT max(length(s)) FROM r",
    "SELECT zeroblob(1000000) || i FROM many",
    "SELECT name || printf('%.*c', 1000000, 'x') FROM hero, many",
    "SELECT '" + "x" * 2_000_000 + "'",
    "SELECT 1 /*" + "x" * 1_500_000 + "*/",
    "SELECT " + "1+" * 700_000 + "1",
]
ONE_OPERATION = [
    "SELECT instr(zeroblob(15000000), zeroblob(7500000) || x'01')",
    "SELECT length(replace(printf('%.*c', 8000000, 'x'), printf('%.*c', 4000000, 'x') || 'y', ''))",
]
BROKEN = [
    "UPDATE sqlite_master SET sql = 'x'",
    "DELETE FROM sqlite_master",
    "SELEC 1",
    "SELECT",
    "SELECT FROM hero",
    "SELECT * FROM nowhere",
    "SELECT nothing FROM hero",
    "SELECT hero.id FROM hero h",
    "SELECT id FROM hero, many, hero",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE hero",
    "SELECT 1;;",
    "; SELECT 1; SELECT 2",
    "SELECT 'unterminated",
    'SELECT "unterminated',
    "SELECT `unterminated",
    "SELECT [unterminated",
    "SELECT 1 /* open comment */ */",
    "```sql\nSELECT 1\n```",
    "Here is the query: SELECT 1",
    "sql placeholder",
    "0",
    "SELECT 1\0",
    "SELECT '\0'",
    "\0",
    "SELECT \ud800",
    "SELECT '\udfff'",
    "SELECT ?",
    "SELECT :name",
    "SELECT $x, @y",
    "SELECT nosuchfunction(1)",
    "SELECT abs()",
    "SELECT sum(sum(id)) FROM hero",
    "SELECT id FROM hero WHERE sum(id) > 1",
    "SELECT id FROM hero ORDER BY 7",
    "SELECT 1 UNION SELECT 1, 2",
    "SELECT abs(-9223372036854775808)",
    "SELECT sum(x) FROM (SELECT 9223372036854775807 AS x UNION ALL SELECT 1)",
    "SELECT json_extract('{', '$')",
    "SELECT 'a' REGEXP 'b'",
    "SELECT 'a' MATCH 'b'",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('/tmp/x', 'y')",
    "SELECT * FROM fsdir('/')",
    "SELECT edit('x')",
    "SELECT pg_sleep(100)",
    "SELECT SLEEP(100)",
    "SELECT raise(ABORT, 'x')",
    "SHOW TABLES",
    "EXEC xp_cmdshell 'ls'",
    "CALL shell('ls')",
    ".tables",
    ".shell ls",
    "\\d hero",
    "COPY hero TO '/tmp/x'",
    "SELECT latin FROM odd",
    "SELECT CAST(x'ff' AS TEXT)",
    "SELECT char(55296)",
    "SELECT substr(CAST('\u00e9' AS BLOB), 1, 1) || ''",
    "SELECT " + "(" * _DEEP + "1" + ")" * _DEEP,
    "SELECT " + "NOT " * 5000 + "1",
    "SELECT " + "1+" * 5000 + "1",
    " UNION ALL ".join(["SELECT 1"] * 2000),
    "SELECT " + ",".join(["1"] * 3000),
    "SELECT * FROM " + ", ".join(f"hero h{i}" for i in range(100)),
    "SELECT " + "(SELECT " * 2000 + "1" + ")" * 2000,
    "SELECT 1 FROM hero WHERE " + " AND ".join(["id = 1"] * 3000),
    "SELECT max(" + ",".join(["1"] * 500) + ")",
    "SELECT 'x' LIKE '" + "%a" * 30_000 + "'",
]
NOTHING = [
    "",
    " ",
    "\n\t\r\n",
    ";",
    "-- only a comment",
    "/* only a comment */",
    "-- one\n/* two */\n-- three",
    "--",
    "/* unterminated comment",
    "SELECT 1 WHERE 0",
    "SELECT * FROM hero WHERE name = 'nobody'",
    "SELECT * FROM nobody",
]
ODD_BUT_FINE = [
    "SELECT 1",
    "SELECT 1;",
    "SELECT 1; ",
    "SELECT 1; -- done",
    "select 1 -- no newline at the end",
    "/* before */ SELECT 1 /* after */",
    "VALUES (1), (2)",
    "SELECT NULL",
    "SELECT 1, 1, 1",
    "SELECT a.id, b.id, a.* FROM hero a, hero b",
    "SELECT id AS x, name AS x FROM hero",
    "SELECT 9007199254740993, 9007199254740992.0",
    "SELECT 9223372036854775807, -9223372036854775808",
    "SELECT 9223372036854775808",
    "SELECT 9e999, -9e999",
    "SELECT 9e999 - 9e999",
    "SELECT 1 / 0, 1 % 0, sqrt(-1)",
    "SELECT -0.0, 0.0, 1.0, 1",
    "SELECT x'00ff', zeroblob(4), blob FROM odd",
    "SELECT huge, tiny, infinite FROM odd",
    "SELECT hex(latin) FROM odd",
    'SELECT "no such column"',
    'SELECT * FROM hero WHERE name = "Ada"',
    "SELECT `two words` FROM `a table`",
    'SELECT "two words" FROM [a table]',
    "SELECT '```', '--', '/*', ';'",
    "SELECT 'it''s', '\u00e9\u4e2d\U0001f600'",
    "SELECT char(0), length(char(0))",
    "SELECT 'line\nbreak\r\n\ttab'",
    "SELECT random() IS NOT NULL",
    "SELECT date('now') IS NOT NULL, current_timestamp IS NOT NULL",
    "SELECT sqlite_version(), sqlite_source_id() IS NOT NULL",
    "SELECT total_changes(), changes(), last_insert_rowid()",
    "SELECT value FROM json_each('[1, 2, 3]')",
    "SELECT fullkey FROM json_tree('{\"a\": [1]}')",
    "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 1000) SELECT sum(i) FROM r",
    _LOOP + "SELECT i FROM r LIMIT 10",
    "SELECT id, rank() OVER (ORDER BY height) FROM hero",
    "SELECT 'a' LIKE 'A', 'a' GLOB 'A'",
    "SELECT length(zeroblob(1000000))",
    "SELECT printf('%.*c', 1000, 'x')",
    "SELECT * FROM tall",
    "SELECT '" + "x" * 500_000 + "'",
    "SELECT " + ",".join(["1"] * 1000),
    "SELECT (SELECT (SELECT 1))",
    "\ufeffSELECT 1",
    "\ufeff\ufeffSELECT 1",
    # SQLite's printf gives NULL where its result would be longer than the limit on a value.
    "SELECT printf('%400000000d', 1)",
    "SELECT printf('%.*c', 20000000, 'x')",
    "SELECT format('%*s', 400000000, 'x')",
]


def hostile_cases() -> list[tuple[str, Outcome]]:
    """Return every case: the SQL and the outcome it must have."""
    cases = [(sql, REFUSED) for sql in (*WRITES, *FILES, *TRANSACTIONS, *PRAGMAS)]
    cases += SCHEMA_READS
    cases += [(sql, TIMEOUT) for sql in (*ENDLESS, *ONE_OPERATION)]
    cases += [(sql, TOO_BIG) for sql in TOO_LARGE]
    cases += [(sql, ERROR) for sql in BROKEN]
    cases += [(sql, EMPTY) for sql in NOTHING]
    return cases + [(sql, ROWS) for sql in ODD_BUT_FINE]


def write_odd_database(path: Path) -> None:
    """Write the database that the cases run on: a few rows of every odd value, and a thousand plain ones."""
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE hero (id INTEGER PRIMARY KEY, name TEXT, height REAL);
        CREATE INDEX hero_name ON hero (name);
        CREATE VIEW tall AS SELECT name FROM hero WHERE height > 1.5;
        INSERT INTO hero VALUES (1, 'Ada', 1.7), (2, 'Bo', NULL), (3, NULL, 2), (4, 'Ada', 1.70);
        CREATE TABLE nobody (id INTEGER);
        CREATE TABLE "a table" ("two words" TEXT);
        INSERT INTO "a table" VALUES ('x');
        CREATE TABLE odd (latin TEXT, blob BLOB, huge INTEGER, tiny REAL, infinite REAL);
        INSERT INTO odd VALUES (CAST(x'e9ff' AS TEXT), x'00ff00', 9007199254740993, 5e-324, 9e999);
        CREATE TABLE many (i INTEGER);
        WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 1000) INSERT INTO many SELECT i FROM r;
        """
    )
    connection.commit()
    connection.close()
