"""Write ten dev questions of each difficulty into docs/lab.md, to be read by a person.

    python docs/draw_lab_questions.py

They are of lab seed 1, drawn by a fixed seed and not picked. A test compares.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from mats_sql.benchmark import Benchmark, Question, read_bird
from mats_sql.config import LabSettings
from mats_sql.lab import write_lab

PAGE = Path(__file__).parent / "lab.md"
BEGIN, END = "<!-- questions: docs/draw_lab_questions.py -->", "<!-- end of questions -->"
EACH = 10
MAX_ROWS = 3


def with_questions(page: str) -> str:
    """Return the page with the questions between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{_questions()}\n{END}{rest.split(END)[1]}"


def _questions() -> str:
    with tempfile.TemporaryDirectory() as name:
        write_lab(Path(name), LabSettings(train_databases=1, train_questions=1))
        dev = read_bird(Path(name), "dev")
        parts = []
        for difficulty in ("simple", "moderate", "challenging"):
            asked = [question for question in dev.questions if question.difficulty == difficulty]
            drawn = random.Random(0).sample(asked, EACH)
            parts.append(f"### {difficulty.capitalize()}\n\n" + "\n".join(_item(dev, question) for question in drawn))
        return "\n\n".join(parts)


def _item(dev: Benchmark, question: Question) -> str:
    gold = dev.golds[question.question_id].sql
    with closing(sqlite3.connect(dev.databases[question.db_id])) as connection:
        rows = connection.execute(gold).fetchall()
    answer = " ; ".join(" , ".join("NULL" if cell is None else str(cell) for cell in row) for row in rows[:MAX_ROWS])
    more = f" ; … ({len(rows)} rows)" if len(rows) > MAX_ROWS else ""
    evidence = f" *({question.evidence})*" if question.evidence else ""
    return f"1. {question.text}{evidence}  \n   `{gold}`  \n   → {answer}{more}"


if __name__ == "__main__":
    PAGE.write_text(with_questions(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
