from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from mats_sql.benchmark.benchmark import require_questions_for_databases, unused_databases
from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.question import Gold, Question
from mats_sql.benchmark.schema import Column, ForeignKey
from mats_sql.errors import BenchmarkError, DatabaseError


def test_questions_and_golds_are_read_in_file_order(bird_folder):
    benchmark = read_bird(bird_folder.write(), "dev")
    assert [question.question_id for question in benchmark.questions] == [7, 8, 9]
    assert benchmark.questions[0] == Question(7, "school", "Who lives in North Hill?", "", "moderate")
    assert benchmark.questions[1].evidence == "a hint"
    assert benchmark.golds[8] == Gold(8, "school", "SELECT count(*) FROM enrolment")


def test_a_question_has_no_field_that_could_hold_gold():
    assert {field.name for field in fields(Question)} == {"question_id", "db_id", "text", "evidence", "difficulty"}


def test_the_schema_has_types_keys_and_nulls(bird_folder):
    schema = read_bird(bird_folder.write(), "dev").schemas["school"]
    students, enrolment = schema.tables
    assert students.name == "Student List"
    assert students.columns[0] == Column("id", "integer", primary_key=True)
    assert students.columns[2] == Column("home_town", "text", meaning="place of birth", has_null=True)
    assert [column.has_null for column in students.columns] == [False, False, True, True, False]
    assert [column.primary_key for column in enrolment.columns] == [True, True]
    assert schema.foreign_keys == (ForeignKey("enrolment", "student_id", "Student List", "id"),)


def test_questions_without_ids_are_numbered_by_position(bird_folder):
    for question in bird_folder.questions:
        del question["question_id"]
    assert [question.question_id for question in read_bird(bird_folder.write(), "dev").questions] == [0, 1, 2]


def test_a_split_may_have_its_own_folder(bird_folder, tmp_path):
    own = tmp_path / "dev"
    own.mkdir()
    bird_folder.write()
    for path in list(tmp_path.glob("dev*")):
        if path != own:
            path.rename(own / path.name)
    assert read_bird(tmp_path, "dev").databases["school"].is_file()


def test_a_missing_database_file_is_no_error(bird_folder):
    bird_folder.database("school").unlink()
    benchmark = read_bird(bird_folder.write(), "dev")
    assert benchmark.databases == {}
    assert len(benchmark.questions) == 3


def test_a_byte_order_mark_before_the_json_is_ignored(bird_folder):
    path = bird_folder.write() / "dev.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_bird(bird_folder.root, "dev").questions) == 3


def test_reading_never_changes_a_database_or_leaves_a_file_beside_it(bird_folder):
    database = bird_folder.database("school")
    before = database.read_bytes()
    read_bird(bird_folder.write(), "dev")
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == ["school.sqlite"]


def test_a_folder_name_may_hold_any_character(bird_folder, tmp_path):
    odd = tmp_path / "a ?#%41 'b' é"
    bird_folder.write()
    odd.mkdir()
    for path in list(tmp_path.glob("dev*")):
        path.rename(odd / path.name)
    assert read_bird(odd, "dev").schemas["school"].tables[0].columns[2].has_null


def test_databases_that_no_question_asks_about_are_reported(bird_folder):
    bird_folder.tables.append({**bird_folder.tables[0], "db_id": "lonely"})
    bird_folder.write_database("stray", "CREATE TABLE t (a)")
    benchmark = read_bird(bird_folder.write(), "dev")
    assert unused_databases(benchmark) == ("lonely", "stray")
    with pytest.raises(BenchmarkError, match=r"lonely, stray in .* have none"):
        require_questions_for_databases(benchmark)


def _drop(key):
    return lambda folder: folder.questions[1].pop(key)


def _set(key, value):
    return lambda folder: folder.questions[1].update({key: value})


def _set_table(key, value):
    return lambda folder: folder.tables[0].update({key: value})


BAD_CONTENT = {
    "missing question": (_drop("question"), "'question', but it is missing, in item 1 of"),
    "missing gold": (_drop("SQL"), "'SQL', but it is missing, in item 1 of"),
    "id in some items only": (_set("question_id", None), "'question_id' must be an integer"),
    "id of a wrong type": (_set("question_id", 1.5), "'question_id' must be an integer"),
    "id twice": (_set("question_id", 7), "question_id 7 twice"),
    "text of a wrong type": (_set("question", 5), "'question' must be a string"),
    "half a surrogate pair": (_set("question", "\ud800"), "must be Unicode text"),
    "blank text": (_set("question", " \n"), "'question' must not be blank"),
    "unknown database": (_set("db_id", "elsewhere"), "question 8 of .* asks about 'elsewhere'"),
    "database twice": (lambda folder: folder.tables.append(folder.tables[0]), "'school' comes twice"),
    "no column types": (lambda folder: folder.tables[0].pop("column_types"), "'column_types', but it is missing"),
    "fewer types than columns": (_set_table("column_types", ["text"]), "must be equally long"),
    "key out of range": (_set_table("primary_keys", [99]), "'primary_keys' must hold column positions below 8"),
    "key of the star column": (_set_table("foreign_keys", [[0, 1]]), r"\[0, 1\] has the position of '\*'"),
    "foreign key of three": (_set_table("foreign_keys", [[1, 2, 3]]), "must hold pairs of column positions"),
    "foreign key of one, then three": (_set_table("foreign_keys", [[1], [2, 3, 4]]), "must hold pairs"),
    "column of no table": (_set_table("column_names_original", [[5, "x"]]), "must hold pairs of table index and name"),
}


@pytest.mark.parametrize("name", BAD_CONTENT)
def test_bad_content_is_one_line_that_names_the_item(bird_folder, name):
    change, message = BAD_CONTENT[name]
    change(bird_folder)
    with pytest.raises(BenchmarkError, match=message) as caught:
        read_bird(bird_folder.write(), "dev")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", '{"a": 1}', "[{]", "[" + "9" * 5000 + "]", "\udcff", "[" * 100_000]
)
@pytest.mark.parametrize("name", ["dev.json", "dev_tables.json"])
def test_a_malformed_file_is_one_line_that_names_the_file(bird_folder, name, text):
    path = bird_folder.write() / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BenchmarkError) as caught:
        read_bird(bird_folder.root, "dev")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dev.json", "dev_tables.json"])
def test_a_missing_file_is_named(bird_folder, name):
    (bird_folder.write() / name).unlink()
    with pytest.raises(BenchmarkError, match=f"{name}: No such file"):
        read_bird(bird_folder.root, "dev")


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match=r"must be a folder, but .*nowhere is not"):
        read_bird(tmp_path / "nowhere", "dev")


@pytest.mark.parametrize("data", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_database_is_one_line_that_names_the_file(bird_folder, data):
    path = bird_folder.database("school")
    path.write_bytes(data)
    with pytest.raises(DatabaseError, match=r"school\.sqlite") as caught:
        read_bird(bird_folder.write(), "dev")
    assert "\n" not in str(caught.value)


def test_a_database_damaged_in_the_middle_is_one_line(bird_folder):
    path = bird_folder.database("school")
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x99" * len(data[4096:])
    path.write_bytes(data)
    with pytest.raises(DatabaseError, match="malformed"):
        read_bird(bird_folder.write(), "dev")


def test_a_table_that_the_database_file_lacks_is_read_without_nulls(bird_folder):
    bird_folder.database("school").unlink()
    bird_folder.write_database(
        "school", "CREATE TABLE ENROLMENT (Student_ID, other); INSERT INTO enrolment VALUES (NULL, 1)"
    )
    students, enrolment = read_bird(bird_folder.write(), "dev").schemas["school"].tables
    assert not any(column.has_null for column in students.columns)
    assert [column.has_null for column in enrolment.columns] == [True, False]


def test_bird_dev_is_read_whole(shared_data: Path):
    benchmark = read_bird(shared_data / "bird", "dev")
    assert len(benchmark.questions) == len(benchmark.golds) == 1534
    assert len(benchmark.schemas) == 11
    assert unused_databases(benchmark) == ()
    assert sorted(benchmark.databases) == ["student_club", "superhero"]
    described = [c for s in benchmark.schemas.values() for t in s.tables for c in t.columns if c.meaning]
    assert len(described) > 600
    assert all("\n" not in column.meaning and len(column.meaning) <= 200 for column in described)
