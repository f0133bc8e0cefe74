"""Extraction: a table of what models write, and the one promise that holds for all of it: nothing is edited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.sql.extract import extract_sql
from tests.sql.real_data import real_candidates

S = "SELECT name FROM hero WHERE id = 1"
T = "SELECT count(*) FROM villain"
PLAN = "Goal to select: the name\nCondition: id is 1\nTables to use: hero\n"

BARE = [
    "SELECT 1",
    "select 1",
    S,
    S + ";",
    "SELECT name\nFROM hero\nWHERE id = 1\nORDER BY name\nLIMIT 1",
    "SELECT\n  name,\n  height\nFROM\n  hero\nWHERE\n  id = 1",
    "SELECT name\n\nFROM hero\n\nWHERE id = 1",
    "SELECT name,\n\n       height\nFROM hero",
    "SELECT name FROM hero\n\nUNION\n\nSELECT name FROM villain",
    "SELECT a, b\nFROM t\nWHERE a = 'x'\n  AND b = 'y'\n  OR c IN (1, 2)",
    "SELECT 'it''s; here' FROM t",
    "SELECT ';' AS s, \"a;b\", `c;d`, [e;f] FROM t;",
    "SELECT name -- the hero's name\nFROM hero -- done",
    "SELECT name /* it's a; comment */ FROM hero",
    "-- heroes by name\nSELECT name FROM hero",
    "/* heroes */ SELECT name FROM hero",
    "SELECT '-- not a comment' FROM t WHERE a = '/*'",
    "SELECT `two words` FROM `a table`",
    "SELECT [two words] FROM [a table]",
    'SELECT "two words" FROM "a table"',
    "SELECT `School Name` FROM frpm\nWHERE `Free Meal Count (K-12)` > 1",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT i FROM r LIMIT 3",
    "WITH a AS (\n  SELECT 1\n),\n\nb AS (\n  SELECT 2\n)\n\nSELECT * FROM a, b",
    "(SELECT 1) UNION SELECT 2",
    "VALUES (1), (2)",
    "SELECT*FROM hero",
    "SELECT(1)",
    "SELECT'x'",
    "SELECT -1",
    "SELECT .5",
    "SELECT DISTINCT T1.name FROM hero AS T1 INNER JOIN villain AS T2\nON T1.id = T2.id",
    "SELECT CASE WHEN a > 1 THEN 'x'\n\nELSE 'y' END FROM t",
    "SELECT name FROM hero WHERE motto = 'first line\n\nThis is the second line'",
    "SELECT 'The answer is: SELECT 1' FROM t",
    "SELECT '\u00e9\u4e2d\U0001f600' FROM t",
    "INSERT INTO hero VALUES (1)",
    "UPDATE hero SET name = 'x'",
    "DELETE FROM hero",
    "DROP TABLE hero",
    "CREATE TABLE x (a)",
    "PRAGMA table_info(hero)",
    "EXPLAIN SELECT 1",
    "ATTACH '/tmp/x' AS x",
    "ALTER TABLE hero ADD COLUMN x",
    "REPLACE INTO hero VALUES (1)",
]
WRAPPED = [
    ("```sql\n{}\n```", S),
    ("```SQL\n{}\n```", S),
    ("```sqlite\n{}\n```", S),
    ("```sqlite3\n{}\n```", S),
    ("```mysql\n{}\n```", S),
    ("```postgresql\n{}\n```", S),
    ("```\n{}\n```", S),
    ("```text\n{}\n```", S),
    ("```sql {}```", S),
    ("```sql {} ```", S),
    ("```{}```", S),
    ("``` {} ```", S),
    ("```sql\r\n{}\r\n```", S),
    ("```sql\n\n\n{}\n\n\n```\n", S),
    ("~~~sql\n{}\n~~~", S),
    ("```sql\n{}", S),
    ("```\n{}", S),
    ("{}\n```", S),
    ("{}\n```\nThis query selects the name.", S),
    ("{}\n```\n```python\nprint(1)\n```", S),
    ("Here is the query:\n```sql\n{}\n```\nIt selects the name.", S),
    ("Here's the query:\n\n```sql\n{}\n```\n\nIt's right.", S),
    ("First try:\n```sql\n" + T + "\n```\nBetter:\n```sql\n{}\n```", S),
    ("```sql\n{}\n```\n```python\nprint('done')\n```", S),
    ("```sql\n{}\n```\nResult:\n```\n| name |\n| Ada |\n```", S),
    ('```json\n{{"thought": 1}}\n```\n```sql\n{}\n```', S),
    ("```sql\n{}\n```", "SELECT name -- it's `x`\nFROM hero"),
    ("```sql\n{}\n```", "-- the query\nSELECT name FROM hero"),
    ("```sql\n{}\n```", "WITH x AS (SELECT 1)\nSELECT * FROM x;"),
    (PLAN + "Final SQL query:\n```sql\n{}\n```", S),
    (PLAN + "Final SQL query:\n```\n{}\n```", S),
    (PLAN + "Final SQL query:\n```sql\n{}", S),
    (PLAN + "Final SQL query: {}", S),
    (PLAN + "Final SQL query:\n{}", S),
    (PLAN + "Final SQL query:\n{}\n", S + ";"),
    (PLAN + "**Final SQL query:**\n```sql\n{}\n```", S),
    (PLAN + "**Final SQL query:** {}", S),
    (PLAN + "**Final SQL query**: {}", S),
    (PLAN + "### Final SQL Query:\n\n{}", S),
    ("Draft:\n```sql\n" + T + "\n```\nFinal SQL query: {}", S),
    ("Final SQL query: " + T + "\n\nOn second thought:\nFinal SQL query: {}", S),
    ("FIXED SQL: {}", S),
    ("FIXED SQL:\n```sql\n{}\n```", S),
    ("Fixed SQL query: {}", S),
    ("Corrected SQL: {}", S),
    ("SQL: {}", S),
    ("**SQL:** {}", S),
    ("SQL query: {}", S),
    ("SQLite query: {}", S),
    ("Query: {}", S),
    ("Answer: {}", S),
    ("Final answer: {}", S),
    ("The SQL is: {}", S),
    ("<sql>{}</sql>", S),
    ("<think>maybe " + T + "</think>\n<sql>\n{}\n</sql>", S),
    ("<answer>{}</answer>", S),
    ("<think>hm</think>\n<answer>\n```sql\n{}\n```\n</answer>", S),
    ("The query is `{}`.", S),
    ("Use `{}` to get it.", S),
    ("The query is `{}`.", "SELECT `two words` FROM t"),
    ("The query is {}", S),
    ("Here is the query: {}", S),
    ("Here is the query:\n{}\n\nThis selects the name.", S),
    ("Here is the query:\n\n{}\n\n**Explanation**: it selects the name.", S),
    ("{}\n\nThis query selects the name.", S),
    ("{}\nThis query selects the name.", S),
    ("{}\n\nExplanation: the name is selected.", S),
    ("{}\n\nNote that id is the key.", S),
    ("{}\n\n### Explanation\nIt selects.", S),
    ("{}\n\n1. It selects the name.", S + ";"),
    ("{} This selects the name.", S + ";"),
    ("{}\n\nQuestion: what is next?", S),
    ("{}\n-- That's it; done", S + ";"),
    ("{} SELECT 2;", "SELECT 1;"),
    ("{} DROP TABLE hero", "SELECT 1;"),
    ("```sql\n{}\nSELECT 2;\n```", "SELECT 1;"),
    ("{}<|im_end|>", S + ";"),
    ("{} \\end{{code}}  Comment: I'm not sure", S + ";"),
    ("\n\n  {}  \n\n", S),
    ("\t{}", S),
    ("> {}", S),
    ("- {}", S),
]
NOTHING = [
    "",
    " ",
    "\n\n",
    "I cannot answer this question.",
    "The hero's name is Ada.",
    "sql placeholder",
    "0",
    "--",
    "-- only a comment",
    "/* only a comment */",
    "SELECT.\n1. The question asks for a name.\nConclude: correct.",
    "CONDITION.\nThe condition id = 1 is right.\nConclude: incorrect.",
    "Select the name of the hero from the table.",
    "SELECT clause is right.",
    "Selection is the key.",
    "With the given schema, we can find the name.",
    "With this as (usual) a start.",
    "Create a plan first.",
    "Update: nothing to do.",
    "Final SQL query:",
    "Final SQL query:\n```sql\n```",
    "```sql\n\n```",
    "```python\nprint('SELECT')\n```",
    '```json\n{"a": 1}\n```',
    "| name |\n| Ada |",
    "[1, 2, 3]",
    "yes",
    "2",
    "```",
    "``````",
    "<sql></sql>",
]


def test_the_table_is_long_enough() -> None:
    assert len(BARE) + len(WRAPPED) + len(NOTHING) >= 100


@pytest.mark.parametrize("sql", BARE)
def test_bare_sql_passes_unchanged(sql: str) -> None:
    assert extract_sql(sql) == sql


@pytest.mark.parametrize(("text", "sql"), WRAPPED)
def test_sql_is_found_in_what_surrounds_it(text: str, sql: str) -> None:
    assert extract_sql(text.format(sql)) == sql


@pytest.mark.parametrize("sql", BARE)
@pytest.mark.parametrize("text", ["```sql\n{}\n```", "Final SQL query:\n```sql\n{}\n```\nDone; it's right."])
def test_any_sql_survives_a_fence(text: str, sql: str) -> None:
    assert extract_sql(text.format(sql)) == sql


@pytest.mark.parametrize("text", NOTHING)
def test_text_without_sql_gives_nothing(text: str) -> None:
    assert extract_sql(text) is None


FENCES = ["```", "```sql\n", "`", "<sql>", "</sql>", "Final SQL query:", "The answer is ", "This is"]
QUOTES = ["'", '"', "--", "/*", "*/", "[", "]", "(", ")", ";", "\n", "\n\n", "\u00e9", "\0", "\ud800"]
PIECES = st.sampled_from([*FENCES, *QUOTES, "SELECT ", "a", " FROM t", "WITH x AS ("])


@given(st.one_of(st.text(), st.lists(PIECES, max_size=25).map("".join)))
def test_the_answer_is_a_verbatim_part_of_the_text(text: str) -> None:
    found = extract_sql(text)
    assert found is None or (found in text and found == found.strip() != "")


@given(st.lists(PIECES, max_size=25).map("".join))
def test_extracting_from_the_answer_gives_the_answer(text: str) -> None:
    found = extract_sql(text)
    if found is not None:
        again = extract_sql(found)
        assert again is None or found.startswith(again) or again in found


@pytest.mark.parametrize("name", ["bird", "spider"])
def test_real_gold_passes_unchanged(name: str) -> None:
    changed = {c.gold for c in real_candidates(name) if extract_sql(c.gold) != c.gold.strip()}
    assert changed == set()


def test_long_hostile_text_takes_linear_time() -> None:
    for text in ("SELECT " + "(" * 50_000, "`" * 50_000, "SELECT '" * 20_000, "-- x\n" * 20_000, "sql:" * 5_000):
        extract_sql(text)
