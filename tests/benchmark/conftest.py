"""A tiny benchmark in BIRD's layout, and the real data where they are at hand."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCHOOL = """
CREATE TABLE "Student List" (id INTEGER PRIMARY KEY, full_name TEXT, home_town TEXT, born DATE, score REAL);
INSERT INTO "Student List" VALUES (1, 'Ada Stone', 'North Hill', '2001-01-01', 3.5), (2, 'Ben Field', NULL, NULL, 4.0),
                                  (3, 'Cy North', 'Hill End', '2002-02-02', 1.0);
CREATE TABLE enrolment (student_id INTEGER, course TEXT, PRIMARY KEY (student_id, course));
INSERT INTO enrolment VALUES (1, 'Open Water'), (2, 'Open Water'), (3, 'Glass');
"""


@dataclass
class BirdFolder:
    """A folder in BIRD's layout whose parts a test may change before writing it."""

    root: Path
    split: str = "dev"
    questions: list[dict[str, object]] = field(default_factory=list)
    tables: list[dict[str, object]] = field(default_factory=list)

    def write(self) -> Path:
        """Write the question file and the tables file; return the root."""
        (self.root / f"{self.split}.json").write_text(json.dumps(self.questions), encoding="utf-8")
        (self.root / f"{self.split}_tables.json").write_text(json.dumps(self.tables), encoding="utf-8")
        return self.root

    def database(self, db_id: str) -> Path:
        """Return where the database file belongs."""
        return self.root / f"{self.split}_databases" / db_id / f"{db_id}.sqlite"

    def write_database(self, db_id: str, script: str) -> Path:
        """Create a database from a SQL script."""
        path = self.database(db_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path)
        connection.executescript(script)
        connection.close()
        return path

    def write_description(self, db_id: str, name: str, data: bytes) -> None:
        """Write a description file, byte for byte."""
        folder = self.database(db_id).parent / "database_description"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def school_tables(db_id: str = "school") -> dict[str, object]:
    return {
        "db_id": db_id,
        "table_names_original": ["Student List", "enrolment"],
        "table_names": ["student list", "enrolment"],
        "column_names_original": [
            [-1, "*"],
            [0, "id"],
            [0, "full_name"],
            [0, "home_town"],
            [0, "born"],
            [0, "score"],
            [1, "student_id"],
            [1, "course"],
        ],
        "column_names": [
            [-1, "*"],
            [0, "id"],
            [0, "full name"],
            [0, "place of birth"],
            [0, "born"],
            [0, "score"],
            [1, "student id"],
            [1, "course"],
        ],
        "column_types": ["text", "integer", "text", "text", "date", "real", "integer", "text"],
        "primary_keys": [1, [6, 7]],
        "foreign_keys": [[6, 1]],
    }


def school_question(question_id: int, text: str, sql: str, **fields: object) -> dict[str, object]:
    return {"question_id": question_id, "db_id": "school", "question": text, "SQL": sql} | fields


@pytest.fixture
def bird_folder(tmp_path: Path) -> BirdFolder:
    """Three questions about one database, written nowhere but for the database file."""
    folder = BirdFolder(tmp_path)
    folder.questions = [
        school_question(7, "Who lives in North Hill?", "SELECT full_name FROM `Student List`", difficulty="moderate"),
        school_question(8, "How many take Open Water?", "SELECT count(*) FROM enrolment", evidence="a hint"),
        school_question(9, "Which town has no one?", "SELECT town FROM nowhere", difficulty="challenging"),
    ]
    folder.tables = [school_tables()]
    folder.write_database("school", SCHOOL)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real BIRD and Spider files (environment variable MATS_SHARED)."""
    default = Path(__file__).resolve().parents[2].parent / "shared"
    data = Path(os.environ.get("MATS_SHARED", default)) / "data"
    if not data.is_dir():
        pytest.skip(f"the real BIRD and Spider files are not at {data}; set MATS_SHARED to run this test")
    return data
