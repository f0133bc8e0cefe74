"""What a benchmark's folder holds, found without running any SQL: for checks before anything starts."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mats_sql.benchmark.database_file import find_databases
from mats_sql.benchmark.descriptions import read_description
from mats_sql.benchmark.items import BirdQuestion, SpiderQuestion, read_items, require_folder
from mats_sql.benchmark.layout import bird_files, spider_files
from mats_sql.benchmark.tables_file import read_tables_file
from mats_sql.digests import digest_file, digest_json
from mats_sql.errors import BenchmarkError, DatabaseError
from mats_sql.sql import open_database

KNOWN_QUESTIONS = {
    "db9e8a1aba23ddd968cabee4c638796a77f731c7dc1d484d05951252511b31ed": "BIRD-dev of 2024-06-27",
    "e3d0811d037b2c6f9c3f57a9b1409269132aa9d98cc0575671e1592f1f171312": "Spider 1.0 dev",
    "2273be5a695bd8fa6cb282d92d478c72f6e025f38bbac7684cc426411445a8e9": "Spider 1.0 train, fewer fields",
}
"""Published question files, by the digest of the JSON that they hold: spacing and key order do not matter."""


@dataclass(frozen=True, slots=True)
class SplitSurvey:
    """One split of a benchmark's folder.

    ``release`` is the published question file that this one equals (empty for any other). ``databases`` are the files
    that questions ask about, by id; ``absent`` the ids without a file, ``unreadable`` those that do not open, with the
    reason. ``orphans`` counts the questions of both. ``encodings`` counts description files.
    """

    questions: int
    release: str
    databases: Mapping[str, Path]
    absent: tuple[str, ...]
    unreadable: Mapping[str, str]
    orphans: int
    encodings: Mapping[str, int]
    unreadable_descriptions: tuple[str, ...]

    @property
    def database_bytes(self) -> int:
        """The size of the split's database files."""
        return sum(path.stat().st_size for path in self.databases.values())


def survey_split(root: Path, kind: Literal["bird", "spider"], split: str) -> SplitSurvey:
    """Return what a split's folder holds; every database is opened, none is read further than its schema.

    Raises :class:`BenchmarkError` for a question or tables file that is missing or malformed.
    """
    require_folder(root)
    files = spider_files(root, split) if kind == "spider" else bird_files(root, split)
    asked = _asked(files.questions, kind)
    read_tables_file(files.tables)
    databases = {db_id: path for db_id, path in find_databases(files.databases).items() if db_id in asked}
    unreadable = _unreadable(databases)
    absent = tuple(sorted(asked.keys() - databases.keys()))
    encodings, bad = _descriptions(files.databases / db_id / "database_description" for db_id in sorted(asked))
    return SplitSurvey(
        questions=asked.total(),
        release=KNOWN_QUESTIONS.get(digest_json(json.loads(files.questions.read_text(encoding="utf-8-sig"))), ""),
        databases=databases,
        absent=absent,
        unreadable=unreadable,
        orphans=sum(asked[db_id] for db_id in (*absent, *unreadable)),
        encodings=encodings,
        unreadable_descriptions=bad,
    )


def changed_databases(databases: Mapping[str, Path], recorded: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the databases whose bytes differ from the digests that a gold receipt recorded.

    Reads every file that the receipt names, 33 GB for all of BIRD.
    """
    both = sorted(databases.keys() & recorded.keys())
    return tuple(db_id for db_id in both if digest_file(databases[db_id]) != recorded[db_id])


def encoding_of(data: bytes) -> str:
    """Return which of the encodings that description files come in this is."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "UTF-8 with a byte order mark" if data.startswith(codecs.BOM_UTF8) else "UTF-8"


def _asked(path: Path, kind: str) -> Counter[str]:
    """Return how many questions ask about each database."""
    if kind == "spider":
        return Counter(item.fields.db_id for item in read_items(path, SpiderQuestion))
    return Counter(item.fields.db_id for item in read_items(path, BirdQuestion))


def _unreadable(databases: Mapping[str, Path]) -> dict[str, str]:
    found = {}
    for db_id, path in databases.items():
        try:
            with open_database(path) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except DatabaseError as error:
            found[db_id] = str(error)
    return found


def _descriptions(folders: Iterable[Path]) -> tuple[dict[str, int], tuple[str, ...]]:
    encodings: Counter[str] = Counter()
    bad = []
    for path in (file for folder in folders for file in sorted(folder.glob("*.[cC][sS][vV]"))):
        try:
            read_description(path)
            encodings[encoding_of(path.read_bytes())] += 1
        except BenchmarkError as error:
            bad.append(str(error))
    return dict(encodings), tuple(bad)
