"""What an item of BIRD's and Spider's files must hold, and one line for the item that does not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from mats_sql.errors import BenchmarkError


def _digits(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _or_empty(value: object) -> object:
    return "" if value is None else value


def _or_simple(value: object) -> object:
    return "simple" if value is None else value


Text = Annotated[str, Strict()]
Words = Annotated[str, Strict(), StringConstraints(strip_whitespace=True, min_length=1)]
Whole = Annotated[int, Strict()]
Columns = list[tuple[Whole, Text]]
ItemFields = TypeVar("ItemFields", bound=BaseModel)


class _Fields(BaseModel):
    """Keys that are not named are ignored: the published files have more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class BirdQuestion(_Fields):
    """A question of BIRD; without ``question_id`` (BIRD's train set) its position is its id."""

    db_id: Words
    question: Words
    evidence: Annotated[Text, BeforeValidator(_or_empty)] = ""
    difficulty: Annotated[Text, BeforeValidator(_or_simple)] = "simple"
    sql: Text = Field(alias="SQL")
    question_id: Annotated[Whole, BeforeValidator(_digits)] = -1


class SpiderQuestion(_Fields):
    """A question of Spider."""

    db_id: Words
    question: Words
    query: Text


class DatabaseTables(_Fields):
    """One database of the tables file that BIRD and Spider share. The keys hold positions of columns."""

    db_id: Text
    table_names_original: list[Text]
    column_names_original: Columns
    column_names: Columns | None = None
    column_types: list[Text]
    primary_keys: list[Whole | list[Whole]]
    foreign_keys: list[tuple[Whole, Whole]]


@dataclass(frozen=True, slots=True)
class Item(Generic[ItemFields]):
    """One checked object of a file's list, with its place for error messages."""

    path: Path
    position: int
    fields: ItemFields

    def problem(self, message: str) -> BenchmarkError:
        """Return an error that names the file and the item."""
        return _problem(self.path, self.position, message)


def read_items(path: Path, model: type[ItemFields]) -> list[Item[ItemFields]]:
    """Return the objects of a JSON list; raise :class:`BenchmarkError` for a file that is missing or malformed."""
    items = []
    for position, fields in enumerate(_read_list(path)):
        if not isinstance(fields, dict):
            raise BenchmarkError(f"a benchmark file must be a list of objects, but item {position} of {path} is not")
        try:
            items.append(Item(path, position, model.model_validate(fields)))
        except ValidationError as error:
            raise _problem(path, position, _message(error.errors(include_url=False)[0], fields)) from None
    return items


def require_folder(root: Path) -> None:
    """Raise :class:`BenchmarkError` unless ``root`` is a folder."""
    if not root.is_dir():
        raise BenchmarkError(f"the benchmark root must be a folder, but {root} is not; see docs/benchmarks.md")


def _read_list(path: Path) -> list[object]:
    # The standard library reads what pydantic's parser refuses, half a surrogate pair, so that its item can be named.
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BenchmarkError(f"a benchmark file must be readable, but {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"a benchmark file must be UTF-8, but {path}: {error}; convert it") from None
    except ValueError as error:  # JSONDecodeError, or an integer of thousands of digits
        raise BenchmarkError(f"a benchmark file must be JSON, but {path}: {error}; mend the file") from None
    except RecursionError:
        raise BenchmarkError(f"a benchmark file must be a list of objects, but {path} is nested too deeply") from None
    if not isinstance(document, list):
        raise BenchmarkError(f"a benchmark file must be a list of objects, but {path} is a {type(document).__name__}")
    return document


def _problem(path: Path, position: int, message: str) -> BenchmarkError:
    return BenchmarkError(f"{message}, in item {position} of {path}; mend the file")


_RULES = {
    "string_type": "must be a string, but is",
    "string_unicode": "must be Unicode text, but has half a surrogate pair:",
    "int_type": "must be an integer, but is",
    "list_type": "must be a list, but is",
}
_PARTS = {
    "table_names_original": "names",
    "column_names_original": "pairs of table index and name",
    "column_names": "pairs of table index and name",
    "column_types": "names of types",
    "primary_keys": "column positions",
    "foreign_keys": "pairs of column positions",
}
"""What a list holds, for the error of one of its entries."""


def _message(error: ErrorDetails, fields: dict[str, object]) -> str:
    """Say pydantic's first complaint in this project's voice."""
    key, place = str(error["loc"][0]), error["loc"][1:]
    if error["type"] == "missing" and not place:
        return f"every item must have the key {key!r}, but it is missing"
    if error["type"] == "string_too_short":
        return f"{key!r} must not be blank, but is"
    found = fields[key]
    if place and isinstance(found, list) and isinstance(place[0], int):
        return f"{key!r} must hold {_PARTS[key]}, but has {found[place[0]]!r:.80}"
    rule = _RULES.get(error["type"], "is malformed:")
    return f"{key!r} {rule} {found!r:.80}"
