"""Candidate files: both formats, and one line of complaint for each way in which they can be wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mats_sql.errors import CandidateFileError
from mats_sql.sql.candidates import PREDICTION, CandidateSet, read_candidates

LINE = {"question_id": 7, "db_id": "hero", "gold": "SELECT 1", "candidates": {"a": "SELECT 1", "b": None}}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_json_lines_are_read_in_order(tmp_path: Path) -> None:
    lines = [json.dumps({**LINE, "question_id": number}) for number in (3, 1, 2)]
    found = list(read_candidates(write(tmp_path / "c.jsonl", "\n" + "\n\n".join(lines) + "\n")))
    assert found == [CandidateSet(number, "hero", {"a": "SELECT 1", "b": None}) for number in (3, 1, 2)]


def test_gzipped_lines_are_known_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(gzip.compress(json.dumps(LINE).encode()))
    assert next(read_candidates(path)).question_id == 7


@pytest.mark.parametrize("indent", [None, 4])
def test_birds_own_format_is_read(tmp_path: Path, indent: int | None) -> None:
    predictions = {"0": "SELECT 1\t----- bird -----\thero", "1": "SELECT 2", "2": "", "3": None}
    found = list(read_candidates(write(tmp_path / "p.json", json.dumps(predictions, indent=indent))))
    assert found == [
        CandidateSet(0, "hero", {PREDICTION: "SELECT 1"}),
        CandidateSet(1, None, {PREDICTION: "SELECT 2"}),
        CandidateSet(2, None, {PREDICTION: None}),
        CandidateSet(3, None, {PREDICTION: None}),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("not json", "must be JSON"),
        ("[1, 2]", "must be JSON objects"),
        ('{"a": "SELECT 1"}', "must be an integer"),
        ('{"0": 7}', "must be SQL"),
        ('{"question_id": 1, "candidates": []}', "map systems to SQL"),
        ('{"question_id": 1, "candidates": {"a": 7}}', "map systems to SQL"),
        ('{"candidates": {"a": "x"}}', "must be an integer"),
        ('{"question_id": true, "candidates": {"a": "x"}}', "must be an integer"),
        ('{"question_id": 1, "db_id": "", "candidates": {"a": "x"}}', "must name a database"),
        (json.dumps(LINE) + "\n{broken", "line 2"),
        ("[" * 100_000, "must be JSON"),
    ],
)
def test_a_bad_file_is_one_line_of_complaint(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(CandidateFileError, match=complaint) as caught:
        list(read_candidates(write(tmp_path / "bad.json", text)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", gzip.compress(b'{"0": "SELECT 1"}', mtime=0)[:-9], b"\x1f\x8bnot gzip"]
)
def test_damaged_bytes_are_one_line_of_complaint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(CandidateFileError):
        list(read_candidates(path))


def test_a_missing_file_is_one_line_of_complaint(tmp_path: Path) -> None:
    with pytest.raises(CandidateFileError, match="readable"):
        list(read_candidates(tmp_path / "nowhere.jsonl"))
