"""The rule-based teacher, case by case: what it calls equal, what it calls different, and what it writes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.agents.critique import Validator, Verdict, parse_critique
from mats_sql.agents.planner import parse_plan
from mats_sql.agents.review import Review
from mats_sql.benchmark.question import Question
from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
from mats_sql.teaching.teacher import CritiqueTask, PlanTask, RuleTeacher, Teacher, write_critique, write_plan

BOTH = (Validator.SELECT, Validator.CONDITION)
JOIN = "FROM singer AS T1 INNER JOIN concert AS T2 ON T1.id = T2.singer_id"

SAME = [
    ("SELECT name FROM singer", "select NAME from SINGER;"),
    ("SELECT name FROM singer", "SELECT T1.name FROM singer AS T1"),
    ("SELECT name FROM singer", "SELECT singer.name FROM singer"),
    ("SELECT name FROM singer", "SELECT `name` FROM `singer`"),
    ("SELECT name FROM singer", 'SELECT "name" FROM "singer"'),
    ("SELECT name FROM singer", "SELECT [name] FROM [singer]"),
    ("SELECT name FROM singer", "SELECT name AS n FROM singer"),
    ("SELECT name FROM singer", "-- all names\nSELECT name FROM singer"),
    ("SELECT name FROM singer", "SELECT (name) FROM singer"),
    ("SELECT name FROM singer", "SELECT ALL name FROM singer"),
    ("SELECT count(*) FROM singer", "SELECT COUNT( * ) FROM singer"),
    ("SELECT COUNT(DISTINCT name) FROM singer", "SELECT count(distinct singer.name) FROM singer"),
    ("SELECT id FROM singer WHERE age > 3 AND name = 'x'", "SELECT id FROM singer WHERE name = 'x' AND age > 3"),
    ("SELECT id FROM singer WHERE age > 3", "SELECT id FROM singer WHERE 3 < age"),
    ("SELECT id FROM singer WHERE age >= 3", "SELECT id FROM singer WHERE (3 <= age)"),
    ("SELECT id FROM singer WHERE age = 3", "SELECT id FROM singer WHERE 3 == age"),
    ("SELECT id FROM singer WHERE age <> 3", "SELECT id FROM singer WHERE age != 3"),
    ("SELECT id FROM singer WHERE age = 3 OR age = 4", "SELECT id FROM singer WHERE age = 4 OR age = 3"),
    ("SELECT id FROM singer WHERE age IN (3, 4)", "SELECT id FROM singer WHERE age IN (4, 3)"),
    ("SELECT id FROM singer WHERE age BETWEEN 3 AND 4", "SELECT id FROM singer WHERE age <= 4 AND age >= 3"),
    ("SELECT id FROM singer WHERE name IS NOT NULL", "SELECT id FROM singer WHERE NOT name IS NULL"),
    ("SELECT id FROM singer WHERE age NOT IN (1)", "SELECT id FROM singer WHERE NOT age IN (1)"),
    ('SELECT id FROM singer WHERE name = "Ann"', "SELECT id FROM singer WHERE name = 'Ann'"),
    ("SELECT id FROM singer ORDER BY age", "SELECT id FROM singer ORDER BY age ASC"),
    ("SELECT name FROM singer ORDER BY name", "SELECT name FROM singer ORDER BY 1"),
    ("SELECT COUNT(*) FROM singer GROUP BY age", "SELECT COUNT(*) AS n FROM singer GROUP BY singer.age"),
    ("SELECT age, COUNT(*) FROM singer GROUP BY age", "SELECT age, COUNT(*) FROM singer GROUP BY 1"),
    (
        "SELECT age FROM singer GROUP BY age ORDER BY COUNT(*) DESC LIMIT 1",
        "SELECT s.age FROM singer s GROUP BY s.age ORDER BY count(*) DESC LIMIT 1",
    ),
    (
        "SELECT age, COUNT(*) FROM singer GROUP BY age HAVING COUNT(*) > 2",
        "SELECT age, COUNT(*) AS n FROM singer GROUP BY age HAVING n > 2",
    ),
    ("SELECT id FROM singer LIMIT 2 OFFSET 1", "SELECT id FROM singer LIMIT 1, 2"),
    (f"SELECT name {JOIN}", "SELECT a.name FROM singer a JOIN concert b ON b.singer_id = a.id"),
    (f"SELECT name {JOIN}", "SELECT name FROM concert JOIN singer ON singer.id = singer_id"),
    (f"SELECT name {JOIN}", "SELECT name FROM singer, concert WHERE singer.id = singer_id"),
    (f"SELECT name {JOIN} WHERE year = 1", f"SELECT name {JOIN} AND year = 1"),
    (f"SELECT T1.id {JOIN}", f"SELECT T2.singer_id {JOIN}"),
    (
        "SELECT singer.name FROM singer JOIN concert USING (id)",
        "SELECT singer.name FROM singer JOIN concert ON singer.id = concert.id",
    ),
    (
        "SELECT name FROM singer WHERE id IN (SELECT singer_id FROM concert WHERE year = 1)",
        "SELECT s.name FROM singer AS s WHERE s.id IN (SELECT c.singer_id FROM concert AS c WHERE c.year = 1)",
    ),
    (
        "SELECT name FROM singer WHERE age > (SELECT AVG(age) FROM singer)",
        "SELECT a.name FROM singer a WHERE a.age > (SELECT avg(b.age) FROM singer b)",
    ),
    (
        "SELECT a.name, b.name FROM singer a, singer b WHERE a.age = b.age",
        "SELECT x.name, y.name FROM singer x JOIN singer y ON x.age = y.age",
    ),
    (
        "SELECT n FROM (SELECT COUNT(*) AS n FROM concert GROUP BY singer_id) AS t",
        "SELECT u.n FROM (SELECT COUNT(*) AS n FROM concert GROUP BY singer_id) AS u",
    ),
    (
        "SELECT name FROM singer UNION SELECT year FROM concert",
        "SELECT s.name FROM singer s UNION SELECT c.year FROM concert c",
    ),
    (
        "WITH w AS (SELECT singer_id FROM concert) SELECT name FROM singer JOIN w ON id = singer_id",
        "WITH w AS (SELECT c.singer_id FROM concert c) SELECT s.name FROM singer s JOIN w ON w.singer_id = s.id",
    ),
    ("SELECT CAST(age AS REAL) / 2 FROM singer", "SELECT cast(singer.age AS FLOAT) / 2 FROM singer"),
    ("SELECT age * 2 FROM singer", "SELECT 2 * age FROM singer"),
    ("SELECT COUNT(*) FROM singer", "SELECT COUNT(id) FROM singer"),
    (f"SELECT COUNT(*) {JOIN}", f"SELECT COUNT(T1.id) {JOIN}"),
]

DIFFERENT = [
    # what differs: "s" in the select list, "c" in the condition, "sc" in both
    ("s", "SELECT name FROM singer", "SELECT age FROM singer"),
    ("s", "SELECT name, age FROM singer", "SELECT age, name FROM singer"),
    ("s", "SELECT name FROM singer", "SELECT name, age FROM singer"),
    ("s", "SELECT name FROM singer", "SELECT DISTINCT name FROM singer"),
    ("s", "SELECT COUNT(name) FROM singer", "SELECT COUNT(DISTINCT name) FROM singer"),
    ("s", "SELECT MAX(age) FROM singer", "SELECT MIN(age) FROM singer"),
    ("s", "SELECT SUM(age) FROM singer", "SELECT AVG(age) FROM singer"),
    ("s", "SELECT age - 1 FROM singer", "SELECT 1 - age FROM singer"),
    ("s", "SELECT age / 2 FROM singer", "SELECT CAST(age AS REAL) / 2 FROM singer"),
    ("s", "SELECT 'Name' FROM singer", "SELECT 'name' FROM singer"),
    ("s", "SELECT COUNT(*) FROM singer", "SELECT COUNT(name) FROM singer"),
    ("s", "SELECT COUNT(*) FROM singer", "SELECT COUNT(DISTINCT id) FROM singer"),
    (
        "s",
        "SELECT COUNT(*) FROM singer LEFT JOIN concert ON singer.id = singer_id",
        "SELECT COUNT(concert.id) FROM singer LEFT JOIN concert ON singer.id = singer_id",
    ),
    ("s", "SELECT a.name FROM singer a, singer b", "SELECT b.name FROM singer a, singer b"),
    ("c", "SELECT name FROM singer", "SELECT name FROM singer WHERE age > 3"),
    ("c", "SELECT name FROM singer WHERE age > 3", "SELECT name FROM singer WHERE age >= 3"),
    ("c", "SELECT name FROM singer WHERE age > 3", "SELECT name FROM singer WHERE age < 3"),
    ("c", "SELECT name FROM singer WHERE age > 3", "SELECT name FROM singer WHERE age > 30"),
    ("c", "SELECT id FROM singer WHERE name = 'Ann'", "SELECT id FROM singer WHERE name = 'ann'"),
    ("c", "SELECT id FROM singer WHERE name = '3'", "SELECT id FROM singer WHERE name = 3"),
    ("c", "SELECT id FROM singer WHERE age = 1 OR age = 2", "SELECT id FROM singer WHERE age = 1 AND age = 2"),
    (
        "c",
        "SELECT id FROM singer WHERE (age = 1 OR age = 2) AND name = 'x'",
        "SELECT id FROM singer WHERE age = 1 OR age = 2 AND name = 'x'",
    ),
    ("c", "SELECT id FROM singer WHERE name LIKE 'a%'", "SELECT id FROM singer WHERE name NOT LIKE 'a%'"),
    ("c", "SELECT id FROM singer WHERE name IS NULL", "SELECT id FROM singer WHERE name IS NOT NULL"),
    ("c", "SELECT id FROM singer ORDER BY age", "SELECT id FROM singer ORDER BY age DESC"),
    ("c", "SELECT id FROM singer ORDER BY age, name", "SELECT id FROM singer ORDER BY name, age"),
    ("c", "SELECT id FROM singer LIMIT 1", "SELECT id FROM singer LIMIT 2"),
    ("c", "SELECT id FROM singer LIMIT 1", "SELECT id FROM singer LIMIT 1 OFFSET 1"),
    ("c", "SELECT COUNT(*) FROM singer GROUP BY age", "SELECT COUNT(*) FROM singer GROUP BY name"),
    (
        "c",
        "SELECT age FROM singer GROUP BY age HAVING COUNT(*) > 1",
        "SELECT age FROM singer GROUP BY age HAVING COUNT(*) > 2",
    ),
    ("c", "SELECT name FROM singer", f"SELECT name {JOIN}"),
    (
        "c",
        "SELECT id FROM singer",
        f"SELECT singer.id {JOIN.replace('T1', 'singer').replace('singer AS singer', 'singer')}",
    ),
    ("c", f"SELECT name {JOIN}", "SELECT name FROM singer JOIN concert ON singer.id = concert.id"),
    ("c", f"SELECT name {JOIN}", "SELECT name FROM singer LEFT JOIN concert ON singer.id = singer_id"),
    ("c", f"SELECT name {JOIN}", "SELECT name FROM singer, concert"),
    (
        "c",
        "SELECT name FROM singer LEFT JOIN concert ON singer.id = singer_id AND year = 1",
        "SELECT name FROM singer LEFT JOIN concert ON singer.id = singer_id WHERE year = 1",
    ),
    (
        "c",
        "SELECT name FROM singer WHERE id IN (SELECT singer_id FROM concert)",
        "SELECT name FROM singer WHERE id IN (SELECT id FROM concert)",
    ),
    ("sc", "SELECT id FROM singer", "SELECT id FROM concert"),
    ("sc", "SELECT name FROM singer UNION SELECT year FROM concert", "SELECT name FROM singer"),
    (
        "sc",
        "SELECT name FROM singer UNION SELECT year FROM concert",
        "SELECT name FROM singer UNION ALL SELECT year FROM concert",
    ),
    (
        "c",
        "WITH w AS (SELECT id FROM concert) SELECT id FROM w",
        "WITH w AS (SELECT singer_id AS id FROM concert) SELECT id FROM w",
    ),
]

SHOWN = [
    # SQL, the select list, the condition of a plan, the tables
    ("SELECT name FROM singer", "singer.name", "none", "singer"),
    ("SELECT count(*) FROM singer", "COUNT(*)", "none", "singer"),
    ("SELECT DISTINCT T.age FROM singer T", "DISTINCT singer.Age", "none", "singer"),
    ('SELECT AVG("ticket price") FROM concert', "AVG(concert.`Ticket Price`)", "none", "concert"),
    (f"SELECT T1.name {JOIN} WHERE T2.year = 2014", "singer.name", "concert.year = 2014", "singer, concert"),
    (
        f"SELECT name, COUNT(*) n {JOIN} GROUP BY T1.id HAVING n > 2 ORDER BY n DESC LIMIT 3",
        "singer.name, COUNT(*)",
        "GROUP BY singer.id HAVING COUNT(*) > 2 ORDER BY COUNT(*) DESC LIMIT 3",
        "singer, concert",
    ),
    (
        "SELECT name FROM singer WHERE age > (SELECT AVG(age) FROM singer)",
        "singer.name",
        "singer.Age > (SELECT AVG(singer.Age) FROM singer)",
        "singer",
    ),
    (
        "SELECT name FROM singer WHERE id NOT IN (SELECT singer_id FROM concert)",
        "singer.name",
        "singer.id NOT IN (SELECT concert.singer_id FROM concert)",
        "singer, concert",
    ),
    (
        "SELECT name FROM singer EXCEPT SELECT name FROM singer WHERE age > 3",
        "singer.name EXCEPT singer.name",
        "none EXCEPT singer.Age > 3",
        "singer",
    ),
    (
        "SELECT a.name FROM singer a JOIN singer b ON a.age = b.age WHERE b.name NOT LIKE 'x%'",
        "singer.name",
        "singer_2.name NOT LIKE 'x%'",
        "singer",
    ),
    ("SELECT nme FROM singer WHERE x.age = 1", "nme", "x.age = 1", "singer"),
    ("SELECT substr(name, 1, 2) FROM singer", "SUBSTR(singer.name, 1, 2)", "none", "singer"),
    ("SELECT name FROM singer WHERE age = 1 OR age = 2", "singer.name", "(singer.Age = 1 OR singer.Age = 2)", "singer"),
]

UNREADABLE = [
    "",
    "   ",
    "--",
    "I do not know.",
    "DROP TABLE singer",
    "SELECT",
    "SELECT FROM singer",
    "SELECT (",
    "(" * 900,
]
UNREADABLE += ["SELECT 1; SELECT 2", "SELECT " + "(" * 900 + "1" + ")" * 900, "SELECT 1 " + " " * 9000]


@pytest.mark.parametrize(("gold", "sql"), SAME)
def test_sql_that_differs_in_writing_only_is_approved_by_both_validators(schema: Schema, gold: str, sql: str) -> None:
    for validator in BOTH:
        assert write_critique(validator, sql, gold, schema).verdict is Verdict.CORRECT, validator
        assert write_critique(validator, gold, sql, schema).verdict is Verdict.CORRECT, validator


@pytest.mark.parametrize(("where", "gold", "sql"), DIFFERENT)
def test_the_validator_whose_part_differs_complains_and_the_other_does_not(
    schema: Schema, where: str, gold: str, sql: str
) -> None:
    verdicts = {validator: write_critique(validator, sql, gold, schema).verdict for validator in BOTH}
    assert verdicts[Validator.SELECT] is (Verdict.INCORRECT if "s" in where else Verdict.CORRECT)
    assert verdicts[Validator.CONDITION] is (Verdict.INCORRECT if "c" in where else Verdict.CORRECT)


@pytest.mark.parametrize(("sql", "goal", "condition", "tables"), SHOWN)
def test_a_plan_names_goal_condition_and_tables_in_the_schemas_spelling(
    schema: Schema, sql: str, goal: str, condition: str, tables: str
) -> None:
    lines = write_plan(sql, schema).splitlines()
    assert lines[:3] == [f"Goal to select: {goal}", f"Condition: {condition}", f"Tables to use: {tables}"]


@pytest.mark.parametrize("sql", [case[0] for case in SHOWN])
def test_a_plan_ends_in_the_gold_sql_word_for_word(schema: Schema, sql: str) -> None:
    assert parse_plan(write_plan(f" {sql};\n", schema)).sql == sql


@pytest.mark.parametrize("sql", UNREADABLE)
def test_text_that_is_no_query_is_called_unreadable_and_incorrect(schema: Schema, sql: str) -> None:
    for validator in BOTH:
        critique = write_critique(validator, sql, "SELECT name FROM singer", schema)
        assert critique.verdict is Verdict.INCORRECT
        assert critique.text.splitlines()[1].endswith(": nothing readable")
        assert "singer" in critique.text.splitlines()[2]


def test_a_critique_says_what_the_gold_has_so_that_a_fixer_can_use_it(schema: Schema) -> None:
    critique = write_critique(
        Validator.CONDITION, "SELECT name FROM singer WHERE age > 3", f"SELECT name {JOIN} WHERE year = 2014", schema
    )
    assert critique.text == (
        "CONDITION.\nThe query keeps: FROM singer WHERE singer.Age > 3\n"
        "The question asks for: FROM singer, concert WHERE concert.year = 2014\nConclude: incorrect."
    )


def test_agreement_shows_the_sqls_own_part_twice(schema: Schema) -> None:
    critique = write_critique(
        Validator.CONDITION,
        "SELECT id FROM singer WHERE age > 3 AND name = 'x'",
        "SELECT id FROM singer WHERE name = 'x' AND age > 3",
        schema,
    )
    _, found, wanted, _ = critique.text.splitlines()
    assert (
        found.partition(": ")[2]
        == wanted.partition(": ")[2]
        == "FROM singer WHERE singer.Age > 3 AND singer.name = 'x'"
    )


def test_a_join_along_the_only_foreign_key_goes_without_saying_and_any_other_is_named(schema: Schema) -> None:
    gold = f"SELECT name {JOIN}"
    other = write_critique(Validator.CONDITION, "SELECT name FROM singer s JOIN concert c ON s.id = c.id", gold, schema)
    assert "The query keeps: FROM singer, concert ON singer.id = concert.id\n" in other.text
    missing = write_critique(Validator.CONDITION, "SELECT name FROM singer, concert", gold, schema)
    assert "The query keeps: FROM singer, CROSS concert\n" in missing.text
    assert missing.text.splitlines()[2] == "The question asks for: FROM singer, concert"


def test_a_join_along_no_foreign_key_is_answered_with_the_golds_join(schema: Schema) -> None:
    gold = "SELECT name FROM singer JOIN concert ON singer.id = concert.singer_id"
    turned = "SELECT name FROM singer JOIN concert ON singer.concert_id = concert.id"
    critique = write_critique(Validator.CONDITION, turned, gold, schema)
    assert "The query keeps: FROM singer, concert ON singer.concert_id = concert.id\n" in critique.text
    assert "The question asks for: FROM singer, concert ON singer.id = concert.singer_id\n" in critique.text
    forgotten = write_critique(Validator.CONDITION, "SELECT name FROM singer WHERE age > 3", gold, schema)
    assert "The question asks for: FROM singer, concert\n" in forgotten.text, "its own joins are not astray"


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        (f"SELECT id {JOIN}", "id"),
        (f"SELECT singer.id {JOIN}", "unknown.id"),
        (f"SELECT T3.id {JOIN}", "T3.id"),
        (f"SELECT T1.year {JOIN}", "singer.year"),
    ],
)
def test_a_column_that_sqlite_cannot_find_or_finds_twice_is_not_taken_for_the_golds(
    schema: Schema, sql: str, shown: str
) -> None:
    critique = write_critique(Validator.SELECT, sql, f"SELECT T1.id {JOIN}", schema)
    assert critique.verdict is Verdict.INCORRECT
    assert critique.text.splitlines()[1] == f"The query selects: {shown}"


def test_a_column_merged_by_using_may_stand_without_its_table(schema: Schema) -> None:
    gold = "SELECT singer.id FROM singer JOIN concert USING (id)"
    critique = write_critique(Validator.SELECT, "SELECT id FROM singer JOIN concert USING (id)", gold, schema)
    assert critique.verdict is Verdict.CORRECT


def test_two_foreign_keys_between_two_tables_are_both_named() -> None:
    team = Table("team", (Column("id", "integer", True), Column("name", "text")))
    match = Table("game", (Column("home", "integer"), Column("away", "integer")))
    keys = (ForeignKey("game", "home", "team", "id"), ForeignKey("game", "away", "team", "id"))
    schema = Schema("league", (team, match), keys)
    home, away = (f"SELECT name FROM game JOIN team ON {column} = id" for column in ("home", "away"))
    critique = write_critique(Validator.CONDITION, home, away, schema)
    assert critique.verdict is Verdict.INCORRECT
    assert "ON game.home = team.id" in critique.text
    assert "ON game.away = team.id" in critique.text


def test_a_correlated_query_of_the_same_table_keeps_inner_and_outer_apart(schema: Schema) -> None:
    inner, outer = (
        f"SELECT name FROM singer a WHERE EXISTS (SELECT 1 FROM singer b WHERE b.age > {name}.age)" for name in "ba"
    )
    assert write_critique(Validator.CONDITION, inner, outer, schema).verdict is Verdict.INCORRECT


@pytest.mark.parametrize("sql", [pair[1] for pair in SAME] + [case[2] for case in DIFFERENT] + UNREADABLE)
def test_every_critique_reads_back_as_it_was_meant(schema: Schema, sql: str) -> None:
    for validator in BOTH:
        critique = write_critique(validator, sql, "SELECT name FROM singer WHERE age > 3", schema)
        assert parse_critique(validator, critique.text) == critique


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *"()*,.;'\"`=<>1",
                *["SELECT", "FROM", "WHERE", "AND", "singer", "name", "age", "NOT", "IN", "JOIN", "ON", "WITH", "AS"],
            ]
        )
    )
)
def test_any_text_gets_a_critique_that_agrees_with_itself(words: list[str]) -> None:
    schema = Schema("music", (Table("singer", (Column("name", "text"), Column("age", "integer"))),))
    sql = " ".join(["SELECT", *words])
    for validator in BOTH:
        assert write_critique(validator, sql, sql, schema).verdict is Verdict.CORRECT
        assert write_critique(validator, sql, "SELECT 7 FROM singer LIMIT 9", schema).verdict in Verdict


def test_the_rule_teacher_answers_every_task_in_order(schema: Schema) -> None:
    teacher: Teacher = RuleTeacher()
    golds = ["SELECT name FROM singer", "SELECT age FROM singer"]
    question = Question(1, "music", "Who?")
    plans = teacher.plans([PlanTask(question, schema, "", gold) for gold in golds])
    assert plans == [write_plan(gold, schema) for gold in golds]
    review = Review(question, "", golds[0], "no rows")
    critiques = teacher.critiques([CritiqueTask(Validator.SELECT, review, schema, gold) for gold in golds])
    assert [critique.verdict for critique in critiques if critique] == [Verdict.CORRECT, Verdict.INCORRECT]


def test_a_critique_of_two_new_sqls_takes_a_few_milliseconds_at_most(schema: Schema) -> None:
    started = time.perf_counter()
    for number in range(100):
        sql = f"SELECT name {JOIN} WHERE year = {number} AND age > 3 ORDER BY age DESC LIMIT 1"
        for validator in BOTH:
            write_critique(validator, sql, sql.replace("name", "age").replace("> 3", "< 3"), schema)
    assert (time.perf_counter() - started) / 200 < 0.02  # 0.0005 s on an idle core; the rest is room for a busy one
