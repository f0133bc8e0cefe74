"""Records read back from a table as they were written, whatever they hold; anything else is refused by name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mats_sql.agents.messages import ChatMessage, Messages
from mats_sql.errors import StageInputError
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.parquet import read_records, write_records
from mats_sql.preference.pair import PreferencePair
from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, ScoreRow
from mats_sql.teaching.example import SftExample

RECORDS = (PlanRow, CritiqueRow, FixRow, ScoreRow, PreferencePair, JudgedCandidate, SftExample)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Row:
    number: int
    share: float | None
    kept: bool
    text: str
    note: str | None
    colour: Colour
    second: Colour | None
    prompt: Messages


text = st.text(st.characters(exclude_categories=["Cs"]))
rows = st.builds(
    Row,
    number=st.integers(-(2**63), 2**63 - 1),
    share=st.none() | st.floats(allow_nan=False),
    kept=st.booleans(),
    text=text,
    note=st.none() | text,
    colour=st.sampled_from(Colour),
    second=st.none() | st.sampled_from(Colour),
    prompt=st.lists(st.builds(ChatMessage, text, text)).map(tuple),
)
ONE = Row(1, 0.5, True, "gut – ✓", None, Colour.RED, None, (ChatMessage("user", "bad\nline"),))


@settings(max_examples=60, deadline=None)
@given(written=st.lists(rows, max_size=5))
def test_records_read_back_as_they_were_written(written: list[Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("table") / "rows.parquet"
    write_records(written, Row, path)
    assert read_records(Row, path) == written


@pytest.mark.parametrize("record_type", RECORDS, ids=lambda kind: kind.__name__)
def test_a_table_without_rows_has_the_columns_of_its_record(record_type: type, tmp_path: Path) -> None:
    write_records([], record_type, tmp_path / "rows.parquet")
    assert pq.read_schema(tmp_path / "rows.parquet").names == [field.name for field in fields(record_type)]
    assert read_records(record_type, tmp_path / "rows.parquet") == []


def test_the_types_do_not_depend_on_the_rows(tmp_path: Path) -> None:
    for name, written in (("none", []), ("one", [ONE])):
        write_records(written, Row, tmp_path / name)
    assert pq.read_schema(tmp_path / "none") == pq.read_schema(tmp_path / "one")
    assert [str(kind) for kind in pq.read_schema(tmp_path / "none").types] == [
        *("int64", "double", "bool"),
        *["string"] * 5,
    ]


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    write_records([ONE], Row, tmp_path / "number=7" / "rows.parquet")
    assert read_records(Row, tmp_path / "number=7" / "rows.parquet") == [ONE]


def test_a_table_that_pandas_wrote_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records([ONE], Row, path)
    pd.read_parquet(path).astype({"text": "string[pyarrow]", "colour": "string[pyarrow]"}).to_parquet(path)
    assert "large_string" in str(pq.read_schema(path)), "or nothing is tested here"
    assert read_records(Row, path) == [ONE]


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


DAMAGE = {
    "'note'": lambda table: table.drop_columns("note"),
    "'extra'": lambda table: table.append_column("extra", pa.array(["x"])),
    "number holds string instead of int64": lambda table: _with_column(table, "number", pa.array(["1"])),
    "text holds a null": lambda table: _with_column(table, "text", pa.array([None], pa.string())),
    "'green' is not a valid Colour": lambda table: _with_column(table, "colour", pa.array(["green"])),
    "column prompt: KeyError: 'content'": lambda table: _with_column(table, "prompt", pa.array(['[{"role": "user"}]'])),
}


@pytest.mark.parametrize("problem", DAMAGE)
def test_a_table_that_its_record_cannot_hold_is_refused_in_one_line(problem: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records([ONE], Row, path)
    pq.write_table(DAMAGE[problem](pq.read_table(path)), path)
    with pytest.raises(StageInputError) as raised:
        read_records(Row, path)
    assert problem in str(raised.value)
    assert str(path) in str(raised.value)
    assert str(raised.value).endswith("; run the stage that writes it again")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [None, b"", b"torn", b"PAR1 and then nothing PAR1"])
def test_a_missing_or_torn_file_is_refused_by_its_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StageInputError, match=r"rows\.parquet"):
        read_records(Row, path)


@dataclass(frozen=True, slots=True)
class Loose:
    words: tuple[str, ...]


def test_a_field_that_no_column_can_hold_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Loose\.words.*ColumnAdapter"):
        write_records([Loose(("a",))], Loose, tmp_path / "rows.parquet")
