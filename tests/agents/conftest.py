"""A small schema with what makes SQL awkward, and the way to real BIRD files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table


@pytest.fixture(scope="session")
def schema() -> Schema:
    """Singers and concerts: one foreign key, a name that needs quotes, a column name in both tables."""
    singer = Table("singer", (Column("id", "integer", True), Column("name", "text"), Column("Age", "integer")))
    concert = Table(
        "concert",
        (
            Column("id", "integer", True),
            Column("singer_id", "integer"),
            Column("year", "integer"),
            Column("Ticket Price", "real"),
        ),
    )
    return Schema("music", (singer, concert), (ForeignKey("concert", "singer_id", "singer", "id"),))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real benchmark files; without it the test is skipped."""
    root = Path(os.environ.get("MATS_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    if not (root / "data" / "bird" / "dev.json").is_file():
        pytest.skip(f"no BIRD files under {root}; set MATS_SHARED to the folder that holds data/bird")
    return root
