"""Frozen records as Parquet tables whose columns are the record's fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mats_sql.errors import StageInputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pandas import DataFrame


def write_table(rows: Sequence[DataclassInstance], path: Path) -> None:
    """Write records in their order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows]), path)


def read_table(path: Path) -> DataFrame:
    """Read a table; raises :class:`StageInputError` when it is missing or damaged."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StageInputError(f"a stage's table must be readable, but {path}: {error}; run the stage again") from None
