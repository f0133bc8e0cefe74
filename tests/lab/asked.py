"""Questions with their databases, filled and open: what corruptions are tried on."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from mats_sql.lab.databases import LabDatabase, build_database, create_tables
from mats_sql.lab.partition import Part
from mats_sql.lab.questions import LabQuestion, draw_question

Asked = list[tuple[LabDatabase, sqlite3.Connection, LabQuestion]]


@contextmanager
def asked_of(seed: int, themes: Sequence[str], each: int) -> Iterator[Asked]:
    """Give questions of every theme's database, up to ``each`` of each difficulty."""
    rng = random.Random(seed)
    found: Asked = []
    with ExitStack() as opened:
        for number, theme in enumerate(themes):
            database = build_database(rng, f"db{number}", theme, (30, 40))
            connection = opened.enter_context(closing(sqlite3.connect(":memory:")))
            create_tables(connection, database)
            for difficulty in ("simple", "moderate", "challenging") * each:
                question = draw_question(rng, database, connection, difficulty, Part.PRETRAINING)
                if question is not None:
                    found.append((database, connection, question))
        yield found
