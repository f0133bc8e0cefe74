from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.descriptions import MAX_MEANING_CHARACTERS, decode, read_description
from mats_sql.errors import BenchmarkError

HEADER = "original_column_name,column_name,column_description,data_format,value_description\n"


def meaning(bird_folder, text: str | bytes, file: str = "Student List.csv", column: str = "home_town") -> str:
    data = text if isinstance(text, bytes) else (HEADER + text).encode()
    bird_folder.write_description("school", file, data)
    table = read_bird(bird_folder.write(), "dev").schemas["school"].tables[0]
    return next(each.meaning for each in table.columns if each.name == column)


def test_the_meaning_joins_names_description_and_values(bird_folder):
    text = 'home_town,town,where the student grew up,text,"a  name,\n or NULL"\n'
    assert meaning(bird_folder, text) == "place of birth, town, where the student grew up, a name, or NULL"


def test_what_repeats_the_column_name_or_another_part_is_left_out(bird_folder):
    assert meaning(bird_folder, "full_name,Full Name,full name,text,\n", column="full_name") == ""
    assert meaning(bird_folder, "home_town,place,the place of birth,text,\n") == "the place of birth"


def test_the_label_commonsense_evidence_is_left_out(bird_folder):
    text = 'score,,points,real,"Commonsense Evidence: \n higher is better"\n'
    assert meaning(bird_folder, text, column="score") == "points, higher is better"


def test_a_long_meaning_is_cut_between_words(bird_folder):
    text = meaning(bird_folder, f"home_town,,{'word ' * 100},text,\n")
    assert len(text) <= MAX_MEANING_CHARACTERS
    assert text.endswith("word…")


def test_a_long_word_is_cut_all_the_same(bird_folder):
    assert len(meaning(bird_folder, f"score,,{'x' * 500},text,\n", column="score")) == MAX_MEANING_CHARACTERS


@pytest.mark.parametrize("file", ["student list.csv", "Student_List.CSV", " STUDENT  LIST .csv"])
def test_a_file_name_may_differ_in_case_and_spaces(bird_folder, file):
    assert meaning(bird_folder, "score,,points,real,\n", file, "score") == "points"


@pytest.mark.parametrize("name", ["score ", " Score", "SCORE"])
def test_a_column_name_may_differ_in_case_and_spaces(bird_folder, name):
    assert meaning(bird_folder, f"{name},,points,real,\n", column="score") == "points"


def test_ragged_rows_blank_lines_and_unknown_columns_are_tolerated(bird_folder):
    text = "\n,,,,\nscore\nnothing,,of this schema,text,\n\nhome_town,,town,text,,pushed right\n"
    assert meaning(bird_folder, text) == "place of birth, town, pushed right"


def test_a_file_without_a_header_is_read_in_the_usual_order(bird_folder):
    assert meaning(bird_folder, b"score,,points,real,\n", column="score") == "points"


def test_columns_of_the_file_may_come_in_another_order(bird_folder):
    data = b"column_description,original_column_name\npoints,score\n"
    assert meaning(bird_folder, data, column="score") == "points"


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_says_nothing(bird_folder, data):
    assert meaning(bird_folder, data) == "place of birth"


TEXTS = {
    "utf-8": "café".encode(),
    "utf-8 with a mark": "café".encode("utf-8-sig"),
    "utf-16": "café".encode("utf-16"),
    "cp1252": "café".encode("cp1252"),
    "latin-1": "café".encode("latin-1"),
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_every_usual_encoding_is_read(encoding):
    assert decode(TEXTS[encoding]) == "café"


def test_a_file_of_two_encodings_is_read_without_damage_to_either():
    assert decode("é • ".encode() + "é •".encode("cp1252") + " é".encode() + b" \x81") == "é • é • é \x81"


@given(st.text().filter(lambda text: "\0" not in text and not text.startswith("\ufeff")))
def test_utf8_text_survives_decoding(text):
    assert decode(text.encode()) == text


@given(st.binary())
def test_any_bytes_are_a_readable_description(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("description") / "t.csv"
    path.write_bytes(data)
    assert all(isinstance(name, str) for name in read_description(path))


def test_a_cell_that_never_ends_is_an_error_that_names_the_file(bird_folder):
    with pytest.raises(BenchmarkError, match=r"must be CSV, but .*Student List\.csv: field larger"):
        meaning(bird_folder, 'score,"' + "x" * 200_000)


def test_the_byte_of_a_real_cp1252_file_becomes_its_character(shared_data):
    schema = read_bird(shared_data / "bird", "dev").schemas["european_football_2"]
    meanings = {(t.name, c.name): c.meaning for t in schema.tables for c in t.columns}
    assert "• high:" in meanings["Player_Attributes", "attacking_work_rate"]
