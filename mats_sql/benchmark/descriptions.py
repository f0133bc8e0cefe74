"""Reads BIRD's ``database_description`` folders and joins what they say into each column's meaning.

The published files come in UTF-8 with and without a byte order mark, in cp1252 and in mixtures of both, with trailing
spaces in names, blank lines and a stray extra column: all of it is read, none of it is an error. A file for a table or
a row for a column that the schema does not have is ignored.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from mats_sql.benchmark.schema import Column, Schema, Table
from mats_sql.benchmark.tables_file import DeclaredSchema
from mats_sql.errors import BenchmarkError

MAX_MEANING_CHARACTERS = 200

_HEADER = ("original_column_name", "column_name", "column_description", "data_format", "value_description")
_NOISE = re.compile(
    r"\b(?:commonsense|common sense)\s+(?:evidence|reasoning)\s*:|\N{REPLACEMENT CHARACTER}", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class ColumnDescription:
    """What a description file says about one column; every text may be empty."""

    name: str = ""
    description: str = ""
    values: str = ""


def describe(declared: DeclaredSchema, folder: Path) -> Schema:
    """Return the schema with meanings from the tables file and, when the folder is there, from its CSV files.

    Raises :class:`BenchmarkError` for a file that cannot be read or is no CSV.
    """
    schema = declared.schema
    files = {_key(path.stem): path for path in sorted(folder.glob("*.[cC][sS][vV]"))} if folder.is_dir() else {}

    def described(table: Table) -> Table:
        path = files.get(_key(table.name))
        rows = read_description(path) if path else {}
        columns = (
            replace(column, meaning=_meaning(column, declared.readable_names[table.name, column.name], rows))
            for column in table.columns
        )
        return replace(table, columns=tuple(columns))

    return replace(schema, tables=tuple(described(table) for table in schema.tables))


def read_description(path: Path) -> dict[str, ColumnDescription]:
    """Return a file's descriptions by normalised column name."""
    try:
        rows = list(csv.reader(io.StringIO(decode(path.read_bytes()), newline="")))
    except OSError as error:
        raise BenchmarkError(f"a description file must be readable, but {path}: {error.strerror}") from None
    except csv.Error as error:
        raise BenchmarkError(f"a description file must be CSV, but {path}: {error}; mend or remove it") from None
    header = [_key(cell).replace(" ", "_") for cell in rows[0]] if rows else []
    if _HEADER[0] in header:
        rows = rows[1:]
    else:
        header = list(_HEADER)
    return dict(_described_column(row, header) for row in rows if any(cell.strip() for cell in row))


def decode(data: bytes) -> str:
    """Return the text of a file in UTF-8, UTF-16 with a byte order mark, cp1252, Latin-1 or a mixture; never fails."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", _FALLBACK).replace("\0", "")


def _described_column(row: list[str], header: list[str]) -> tuple[str, ColumnDescription]:
    cells = dict(zip(header, row, strict=False))
    key, name, description, _, values = (cells.get(title, "") for title in _HEADER)
    # Some files have one comma too many, which pushes the value description into a column without a title.
    overflow = [cell for title, cell in zip_longest(header, row, fillvalue="") if not title]
    return _key(key), ColumnDescription(name, description, " ".join([values, *overflow]))


def _meaning(column: Column, readable_name: str, rows: dict[str, ColumnDescription]) -> str:
    row = rows.get(_key(column.name), ColumnDescription())
    texts = [_collapse(text) for text in (readable_name, row.name, row.description, row.values)]
    return _shorten(", ".join(_informative(column.name, texts)))


def _informative(column_name: str, texts: Iterable[str]) -> list[str]:
    """Return the texts without those that repeat the column's name or are contained in another text."""
    kept: list[str] = []
    for text in texts:
        key = _key(text)
        if not key or key.replace(" ", "") == _key(column_name).replace(" ", ""):
            continue
        if any(f" {key} " in f" {_key(other)} " for other in kept):
            continue
        kept = [other for other in kept if f" {_key(other)} " not in f" {key} "]
        kept.append(text)
    return kept


def _collapse(text: str) -> str:
    return " ".join(_NOISE.sub(" ", text).split()).rstrip(" ,;.")


def _shorten(text: str) -> str:
    if len(text) <= MAX_MEANING_CHARACTERS:
        return text
    head = text[: MAX_MEANING_CHARACTERS - 1]
    return head[: head.rfind(" ")].rstrip(" ,;.") + "…" if " " in head else head + "…"


def _key(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _decode_as_cp1252(error: UnicodeError) -> tuple[str, int]:
    """Decode the bytes that are not UTF-8 as cp1252 (Latin-1 where cp1252 has no character), and go on in UTF-8."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    try:
        return wrong.decode("cp1252"), error.end
    except UnicodeDecodeError:
        return wrong.decode("latin-1"), error.end


_FALLBACK = "mats_sql.cp1252"
codecs.register_error(_FALLBACK, _decode_as_cp1252)
