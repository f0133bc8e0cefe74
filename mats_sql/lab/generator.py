"""Write the lab benchmark in BIRD's layout: two splits with disjoint databases and disjoint question texts.

Every text is of the part that pretraining never sees (partition).
"""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

from mats_sql.config import LabSettings
from mats_sql.errors import ConfigError
from mats_sql.lab import words
from mats_sql.lab.databases import LabDatabase, LabTable, build_database, create_tables
from mats_sql.lab.questions import LabQuestion, draw_questions
from mats_sql.seeds import derive_random

GENERATOR_VERSION = 4
"""Part of the benchmark's identity: raise it when equal settings would give other bytes."""

ROWS = (34, 56)
"""Rows per table: few enough to be quick, enough that a wrong SQL seldom returns the right rows."""


def write_lab(root: Path, settings: LabSettings) -> None:
    """Write both splits below ``root`` (created if missing); equal settings write equal bytes.

    Dev is drawn first, so that its content does not depend on the size of train. Raises :class:`ConfigError` when a
    split asks for more databases than there are names, or for more distinct questions than its databases yield.
    """
    names = _database_names(settings)
    seen: set[str] = set()
    dev, train = names[: settings.dev_databases], names[settings.dev_databases :]
    _write_split(root, "dev", dev, settings.dev_questions, settings.seed, seen)
    _write_split(root, "train", train, settings.train_questions, settings.seed, seen)


def _database_names(settings: LabSettings) -> list[tuple[str, str]]:
    """Return (theme, database id) for every database, dev's first: as many themes among them as there can be."""
    wanted = settings.dev_databases + settings.train_databases
    themes, places = sorted(words.THEMES), list(words.PLACES)
    if wanted > len(themes) * len(places):
        raise ConfigError(
            f"lab.dev_databases + lab.train_databases must be at most {len(themes) * len(places)}, but got {wanted}; "
            "ask for fewer databases"
        )
    rng = derive_random(settings.seed, "lab", "names")
    rng.shuffle(themes)
    rng.shuffle(places)
    pairs = [(theme, place) for place in places for theme in themes]
    return [(theme, f"{theme}_{place}") for theme, place in pairs[:wanted]]


def _write_split(
    root: Path, split: str, names: list[tuple[str, str]], questions: int, seed: int, seen: set[str]
) -> None:
    items: list[dict[str, object]] = []
    tables = []
    for number, (theme, db_id) in enumerate(names):
        rng = derive_random(seed, "lab", split, number)
        database = build_database(rng, db_id, theme, ROWS)
        share = questions * (number + 1) // len(names) - questions * number // len(names)
        folder = root / f"{split}_databases" / db_id
        connection = _write_database(folder, database)
        try:
            drawn = draw_questions(rng, database, connection, share, seen)
        finally:
            connection.close()
        items += [_question_item(len(items) + i, db_id, question) for i, question in enumerate(drawn)]
        tables.append(_tables_item(database))
    _write_json(root / f"{split}.json", items)
    _write_json(root / f"{split}_tables.json", tables)


def _write_database(folder: Path, database: LabDatabase) -> sqlite3.Connection:
    """Write the SQLite file and the description files; return an open connection to the file."""
    descriptions = folder / "database_description"
    descriptions.mkdir(parents=True, exist_ok=True)
    for table in database.tables:
        _write_description(descriptions / f"{table.name}.csv", table)
    path = folder / f"{database.db_id}.sqlite"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    create_tables(connection, database)
    return connection


def _write_description(path: Path, table: LabTable) -> None:
    """Write BIRD's description file; only a code column has something to say."""
    header = ["original_column_name", "column_name", "column_description", "data_format", "value_description"]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([column.name, "", "", column.type, column.meaning] for column in table.columns)


def _question_item(number: int, db_id: str, question: LabQuestion) -> dict[str, object]:
    return {
        "question_id": number,
        "db_id": db_id,
        "question": question.text,
        "evidence": question.evidence,
        "SQL": question.sql,
        "difficulty": question.difficulty,
    }


def _tables_item(database: LabDatabase) -> dict[str, object]:
    """Return a database's entry of BIRD's tables file; columns are numbered from 1, 0 is ``*``."""
    names: list[list[object]] = [[-1, "*"]]
    types = ["text"]
    positions: dict[tuple[str, str], int] = {}
    for index, table in enumerate(database.tables):
        for column in table.columns:
            positions[table.name, column.name] = len(names)
            names.append([index, column.name])
            types.append(column.type)
    tables = [table.name for table in database.tables]
    return {
        "db_id": database.db_id,
        "table_names_original": tables,
        "table_names": tables,
        "column_names_original": names,
        "column_names": names,
        "column_types": types,
        "primary_keys": [positions[table, "id"] for table in tables],
        "foreign_keys": [
            [positions[link.child, key], positions[link.parent, "id"]] for link in database.links for key in link.keys
        ],
    }


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
