"""The pool: every plan, critique and fix drawn for a split, with its execution outcome and verdict.

Three Parquet tables in one folder, one frozen record per row. Rows refer to each other by id, never by position, so
that filtering and reordering cannot shift a label. Samples are exchangeable and ordered: the pool of a smaller K is
:meth:`Pool.prefix` of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TypeVar, get_type_hints

from mats_sql.agents.critique import Validator, Verdict
from mats_sql.digests import digest_text
from mats_sql.errors import StageInputError
from mats_sql.sql.execution import Outcome
from mats_sql.sql.verdict import VerdictClass


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan. ``review_id`` names its (question, SQL); it is empty when the plan has no SQL."""

    plan_id: str
    question_id: int
    db_id: str
    sample_index: int
    text: str
    sql: str | None
    review_id: str
    outcome: Outcome
    response: str
    verdict: VerdictClass
    token_count: int

    @property
    def correct(self) -> bool:
        """Whether the plan's SQL is correct under the official reading."""
        return self.verdict is VerdictClass.CORRECT


@dataclass(frozen=True, slots=True)
class CritiqueRow:
    """One validator's critique of one reviewed SQL; ``sample_index`` 0 is greedy."""

    critique_id: str
    review_id: str
    question_id: int
    validator: Validator
    sample_index: int
    text: str
    verdict: Verdict
    token_count: int


@dataclass(frozen=True, slots=True)
class FixRow:
    """One fix of one reviewed SQL under one pair of critiques (their sample indices).

    ``sample_index`` 0 is greedy. ``feedback`` is the text that the fixer read; fixes with equal feedback are equal.
    """

    fix_id: str
    review_id: str
    question_id: int
    select_index: int
    condition_index: int
    sample_index: int
    feedback: str
    text: str
    sql: str | None
    outcome: Outcome
    response: str
    verdict: VerdictClass
    token_count: int

    @property
    def correct(self) -> bool:
        """Whether the fix is correct under the official reading."""
        return self.verdict is VerdictClass.CORRECT


Record = PlanRow | CritiqueRow | FixRow
RecordType = TypeVar("RecordType", PlanRow, CritiqueRow, FixRow)


@dataclass(frozen=True, slots=True)
class Pool:
    """All plans, critiques and fixes of a split."""

    plans: tuple[PlanRow, ...]
    critiques: tuple[CritiqueRow, ...] = ()
    fixes: tuple[FixRow, ...] = ()

    def prefix(self, k: int) -> Pool:
        """Return the pool that drawing ``k`` plans, critiques and fixes would have given."""
        plans = tuple(plan for plan in self.plans if plan.sample_index < k)
        reviews = {plan.review_id for plan in plans}
        return Pool(
            plans,
            tuple(row for row in self.critiques if row.review_id in reviews and row.sample_index < k),
            tuple(
                row
                for row in self.fixes
                if row.review_id in reviews and max(row.select_index, row.condition_index, row.sample_index) < k
            ),
        )

    def reviews(self) -> dict[str, PlanRow]:
        """Return, per review id, the first plan that wrote that SQL."""
        found: dict[str, PlanRow] = {}
        for plan in sorted(self.plans, key=lambda plan: (plan.question_id, plan.sample_index)):
            if plan.review_id:
                found.setdefault(plan.review_id, plan)
        return found


def review_id(question_id: int, sql: str) -> str:
    """Return the id of a (question, SQL)."""
    return f"{question_id}-{digest_text(sql)[:16]}"


def write_pool(pool: Pool, folder: Path) -> None:
    """Write a pool as ``plans.parquet``, ``critiques.parquet`` and ``fixes.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_records(pool.plans, PlanRow, folder / "plans.parquet")
    write_records(pool.critiques, CritiqueRow, folder / "critiques.parquet")
    write_records(pool.fixes, FixRow, folder / "fixes.parquet")


def read_pool(folder: Path) -> Pool:
    """Read what :func:`write_pool` wrote; raises :class:`StageInputError` when a table is missing or malformed."""
    return Pool(
        tuple(read_records(PlanRow, folder / "plans.parquet")),
        tuple(read_records(CritiqueRow, folder / "critiques.parquet")),
        tuple(read_records(FixRow, folder / "fixes.parquet")),
    )


def write_records(records: Iterable[Record], record_type: type[Record], path: Path) -> None:
    """Write records as one Parquet table with a column per field, enums as text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(records)
    types = get_type_hints(record_type)
    arrow = {field.name: pa.int64() if types[field.name] is int else pa.string() for field in fields(record_type)}
    columns = {
        name: pa.array([_plain(getattr(row, name)) for row in rows], type=column) for name, column in arrow.items()
    }
    pq.write_table(pa.table(columns), path)


def read_records(record_type: type[RecordType], path: Path) -> list[RecordType]:
    """Read the records of one Parquet table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = get_type_hints(record_type)
    try:
        rows = pq.read_table(path).to_pylist()
        return [
            record_type(**{name: _typed(types[name], value) for name, value in row.items()})  # type: ignore[arg-type]
            for row in rows
        ]
    except (OSError, pa.ArrowInvalid, TypeError, KeyError, ValueError) as error:
        raise StageInputError(
            f"a pool's table must be readable with its documented columns, but {path}: {error}; draw the pool again"
        ) from None


def _plain(value: object) -> object:
    return value.value if isinstance(value, StrEnum) else value


def _typed(kind: object, value: object) -> object:
    return kind(str(value)) if isinstance(kind, type) and issubclass(kind, StrEnum) else value
