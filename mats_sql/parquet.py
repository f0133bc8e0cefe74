"""Frozen records as Parquet tables: one codec for everything that stages hand to each other.

A table has a column per field of its record class, in the fields' order: ``int`` is int64, ``float`` float64, ``bool``
bool, ``str`` and an enum's value string; ``X | None`` may be null. The types come from the class, so a table without
rows has them too. A field of any other type says in its annotation how it is written:
``Annotated[kind, ColumnAdapter(encode, decode)]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from mats_sql.errors import StageInputError

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import DataclassInstance

RecordT = TypeVar("RecordT", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class ColumnAdapter:
    """How values of a type that Parquet does not have are written as text, and read from it.

    ``decode`` raises ``ValueError``, ``TypeError`` or ``KeyError`` for text that ``encode`` does not write.
    """

    encode: Callable[[Any], str]
    decode: Callable[[str], Any]


def write_records(
    records: Iterable[RecordT], record_type: type[RecordT], path: Path, made_of: Mapping[str, str] | None = None
) -> None:
    """Write records in their order; the file's folder is made.

    ``made_of`` goes into the file's own metadata: what the records do not hold but stand for, so that a file of equal
    records made of something else has another digest.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(records)
    columns = _columns(record_type)
    arrays = [pa.array([column.plain(getattr(row, column.name)) for row in rows], column.arrow) for column in columns]
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(column.name, column.arrow) for column in columns], metadata=dict(made_of) if made_of else None)
    pq.write_table(pa.table(arrays, schema=schema), path)


def read_records(record_type: type[RecordT], path: Path) -> list[RecordT]:
    """Read what :func:`write_records` wrote.

    Raises :class:`StageInputError` for a file that is missing or torn, for a column that is missing, unknown or of
    another type, and for a value that its field cannot hold (a null, or a word that its enum does not have).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _columns(record_type)
    try:
        # ParquetFile and not read_table, which would also read the names of the folders above as columns
        with pq.ParquetFile(path) as file:
            table = file.read()
        _check_schema(table.schema, columns)
        values = [[column.typed(value) for value in table.column(column.name).to_pylist()] for column in columns]
        names = [column.name for column in columns]
        return [record_type(**dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]
    except (OSError, pa.ArrowException, TypeError, KeyError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise StageInputError(
            f"a table of {record_type.__name__} must be readable with its documented columns, but {path}: {problem}; "
            "run the stage that writes it again"
        ) from None


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: object
    nullable: bool
    adapter: ColumnAdapter | None

    @property
    def arrow(self) -> pa.DataType:
        import pyarrow as pa

        known: dict[object, pa.DataType] = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
        return known.get(self.kind, pa.string())

    def plain(self, value: Any) -> object:
        if value is None:
            return None
        if self.adapter is not None:
            return self.adapter.encode(value)
        return value.value if isinstance(value, StrEnum) else value

    def typed(self, value: Any) -> object:
        if value is None:
            if not self.nullable:
                raise ValueError(f"column {self.name} holds a null")
            return None
        try:
            if self.adapter is not None:
                return self.adapter.decode(value)
            return self.kind(value) if isinstance(self.kind, type) and issubclass(self.kind, StrEnum) else value
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"column {self.name}: {type(error).__name__}: {error}") from None


def _columns(record_type: type[DataclassInstance]) -> list[_Column]:
    hints = get_type_hints(record_type, include_extras=True)
    return [_column(record_type, field.name, hints[field.name]) for field in fields(record_type)]


def _column(record_type: type, name: str, hint: object) -> _Column:
    kind, nullable = _without_none(hint)
    adapters = [item for item in get_args(kind)[1:] if isinstance(item, ColumnAdapter)]
    if get_origin(kind) is Annotated and adapters:
        return _Column(name, kind, nullable, adapters[0])
    if not (isinstance(kind, type) and (kind in (int, float, bool, str) or issubclass(kind, StrEnum))):
        raise TypeError(f"{record_type.__name__}.{name} is {kind}, which a table holds only through a ColumnAdapter")
    return _Column(name, kind, nullable, None)


def _without_none(hint: object) -> tuple[object, bool]:
    """Return the type of ``X | None`` and whether null is allowed."""
    arguments = get_args(hint)
    if get_origin(hint) in (UnionType, Union) and len(arguments) == 2 and NoneType in arguments:
        return next(kind for kind in arguments if kind is not NoneType), True
    return hint, False


def _check_schema(schema: pa.Schema, columns: list[_Column]) -> None:
    odd = sorted(set(schema.names) ^ {column.name for column in columns})
    if odd or len(schema.names) != len(columns):
        raise ValueError(f"its columns differ in {odd}")
    import pyarrow as pa

    for column in columns:
        found = schema.field(column.name).type
        # pandas writes text as large strings: the same values, with wider offsets
        if (pa.string() if pa.types.is_large_string(found) else found) != column.arrow:
            raise ValueError(f"column {column.name} holds {found} instead of {column.arrow}")
