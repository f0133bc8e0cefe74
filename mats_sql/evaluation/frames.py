"""Judged candidates as a table with a fixed schema, for Parquet and for MLflow datasets.

One row per :class:`JudgedCandidate`, columns in its field order: ``question_id``, ``sample_index`` and ``group_size``
int64; ``gate_open``, ``in_pool`` and ``selected`` bool; ``selector_score`` float64 (null: not scored); all others
strings (``sql`` null: the agent gave none; enums by value). The row order is kept both ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING

from mats_sql.agents.critique import Verdict
from mats_sql.errors import StageInputError
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.sql.execution import Outcome
from mats_sql.sql.verdict import VerdictClass

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = tuple(field.name for field in fields(JudgedCandidate))
_INTEGERS = ("question_id", "sample_index", "group_size")
_FLAGS = ("gate_open", "in_pool", "selected")
_FLOATS = ("selector_score",)


def candidates_frame(candidates: Iterable[JudgedCandidate]) -> pd.DataFrame:
    """Return the candidates as a DataFrame with the schema above (the same types also for no rows)."""
    import pandas as pd

    frame = pd.DataFrame([_plain(row) for row in candidates], columns=list(COLUMNS), dtype=object)
    types = dict.fromkeys(COLUMNS, "string")
    types |= dict.fromkeys(_INTEGERS, "int64") | dict.fromkeys(_FLAGS, "bool")
    types |= dict.fromkeys(_FLOATS, "float64")
    return frame.astype(types)


def candidates_from_frame(frame: pd.DataFrame) -> tuple[JudgedCandidate, ...]:
    """Return the candidates of a table written by :func:`candidates_frame`.

    Raises :class:`StageInputError` when a column is missing or unknown, or a value is not of its enum.
    """
    if set(frame.columns) != set(COLUMNS):
        odd = sorted(set(map(str, frame.columns)) ^ set(COLUMNS))
        raise StageInputError(f"a candidates table must have exactly its columns, but differs in {odd}; run evaluate")
    import pandas as pd

    plain = frame[list(COLUMNS)].astype(object)
    records = plain.where(pd.notna(plain), None).itertuples(index=False, name=None)
    try:
        return tuple(_record(dict(zip(COLUMNS, values, strict=True))) for values in records)
    except (ValueError, TypeError) as error:
        raise StageInputError(f"a candidates table must hold typed values, but {error}; run evaluate again") from None


def _plain(row: JudgedCandidate) -> tuple[object, ...]:
    values = (getattr(row, name) for name in COLUMNS)
    return tuple(value.value if isinstance(value, StrEnum) else value for value in values)


def _record(values: dict[str, object]) -> JudgedCandidate:
    score = values["selector_score"]
    return JudgedCandidate(
        question_id=_integer(values["question_id"]),
        db_id=str(values["db_id"]),
        difficulty=str(values["difficulty"]),
        sample_index=_integer(values["sample_index"]),
        origin=str(values["origin"]),
        sql=None if values["sql"] is None else str(values["sql"]),
        outcome=Outcome(str(values["outcome"])),
        result_digest=str(values["result_digest"]),
        verdict=VerdictClass(str(values["verdict"])),
        gate_open=bool(values["gate_open"]),
        in_pool=bool(values["in_pool"]),
        selected=bool(values["selected"]),
        select_verdict=Verdict(str(values["select_verdict"])),
        condition_verdict=Verdict(str(values["condition_verdict"])),
        selector_score=None if score is None else float(str(score)),
        group_size=_integer(values["group_size"]),
    )


def _integer(value: object) -> int:
    return int(str(value))
