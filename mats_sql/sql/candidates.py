"""Read files of candidate SQL: many systems' answers per question, or one system's predictions in BIRD's own format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mats_sql.errors import CandidateFileError

PREDICTION = "prediction"
"""The system's name for a file of plain predictions."""
BIRD_SEPARATOR = "\t----- bird -----\t"
"""What BIRD's predictions have between the SQL and the database's name."""


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """The SQL that each system gave for one question (``None``: it gave none)."""

    question_id: int
    db_id: str | None
    sqls: Mapping[str, str | None]


def read_candidates(path: Path) -> Iterator[CandidateSet]:
    """Yield a file's candidates, question by question, in file order.

    The file, gzipped or not, holds JSON lines ``{"question_id", "db_id", "candidates": {system: sql}}`` (other keys are
    ignored), or one JSON object ``{question_id: sql}`` as BIRD's evaluator reads it, where a SQL may end in BIRD's
    separator and the database's name. Raises :class:`CandidateFileError`; a line is only checked when it is reached.
    """
    with _open(path) as stream:
        first = _first_line(path, stream)
        if '"candidates"' in first:
            yield from _read_lines(path, first, stream)
        else:
            yield from _read_predictions(path, first + stream.read())


@contextmanager
def _open(path: Path) -> Iterator[IO[str]]:
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise CandidateFileError(f"a candidates file must be UTF-8, but {path}: {error}; convert it") from None
    except EOFError:
        raise CandidateFileError(f"a candidates file must be whole, but {path} is cut short; copy it again") from None
    except OSError as error:
        problem = error.strerror or str(error)
        raise CandidateFileError(f"a candidates file must be readable, but {path}: {problem}; check it") from None


def _first_line(path: Path, stream: IO[str]) -> str:
    for line in stream:
        if line.strip():
            return line
    raise CandidateFileError(f"a candidates file must hold candidates, but {path} is empty")


def _read_lines(path: Path, first: str, stream: IO[str]) -> Iterator[CandidateSet]:
    yield _candidate_set(path, 1, first)
    for number, line in enumerate(stream, start=2):
        if line.strip():
            yield _candidate_set(path, number, line)


def _candidate_set(path: Path, number: int, line: str) -> CandidateSet:
    place = f"line {number} of {path}"
    fields = _parse(place, line)
    db_id, sqls = fields.get("db_id"), fields.get("candidates")
    if db_id is not None and (not isinstance(db_id, str) or not db_id.strip()):
        raise CandidateFileError(f"db_id must name a database, but is {db_id!r:.80} in {place}")
    if not isinstance(sqls, dict) or not all(sql is None or isinstance(sql, str) for sql in sqls.values()):
        raise CandidateFileError(f"candidates must map systems to SQL, but {place} does not; mend the line")
    return CandidateSet(_question_id(place, fields.get("question_id")), db_id, sqls)


def _read_predictions(path: Path, text: str) -> Iterator[CandidateSet]:
    for key, value in _parse(str(path), text).items():
        if value is not None and not isinstance(value, str):
            raise CandidateFileError(f"a prediction must be SQL, but question {key!r} of {path} has {value!r:.80}")
        sql, _, db_id = (value or "").partition(BIRD_SEPARATOR)
        yield CandidateSet(_question_id(str(path), key), db_id.strip() or None, {PREDICTION: sql if value else None})


def _parse(place: str, text: str) -> dict[str, object]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CandidateFileError(f"candidates must be JSON, but {place}: {error}; mend the file") from None
    if not isinstance(fields, dict):
        raise CandidateFileError(f"candidates must be JSON objects, but {place} is a {type(fields).__name__}")
    return fields


def _question_id(place: str, value: object) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CandidateFileError(f"question_id must be an integer, but is {value!r:.80} in {place}; mend it")
    return value
