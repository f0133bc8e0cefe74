"""A prompt is never built from a database file that the judge refuses: both open it through one function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mats_sql.benchmark.bird import read_bird
from mats_sql.benchmark.schema import Column, Schema, Table
from mats_sql.benchmark.sqlite_schema import schema_from_sqlite
from mats_sql.benchmark.values import ValueIndex
from mats_sql.errors import DatabaseError
from mats_sql.sql.database import look_at
from tests.benchmark.conftest import BirdFolder

Spoil = Callable[[Path], None]


def leave_a_log(path: Path) -> None:
    path.with_name(path.name + "-wal").write_bytes(b"rows that an immutable connection would leave out")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def link_to_a_database_with_a_log(path: Path) -> None:
    elsewhere = path.with_name("elsewhere.sqlite")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    leave_a_log(elsewhere)


@pytest.mark.parametrize("spoil", [leave_a_log, cut_short, link_to_a_database_with_a_log])
def test_what_the_judge_refuses_is_not_read_for_a_prompt_either(bird_folder: BirdFolder, spoil: Spoil) -> None:
    path = bird_folder.database("school")
    spoil(path)
    root = bird_folder.write()
    schema = Schema("school", (Table("enrolment", (Column("course", "text"),)),))
    readers: dict[str, Callable[[], object]] = {
        "the judge": lambda: look_at(path),
        "the benchmark's reader": lambda: read_bird(root, "dev"),
        "the value index": lambda: ValueIndex.build(path, schema),
        "the schema's reader": lambda: schema_from_sqlite(path),
    }
    took = [reader for reader, read in readers.items() if not refuses(read)]
    assert took == []


def refuses(read: Callable[[], object]) -> bool:
    try:
        read()
    except DatabaseError:
        return True
    return False
