"""Reads a JSON file that is a list of objects, and says which item breaks a rule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mats_sql.errors import BenchmarkError


@dataclass(frozen=True, slots=True)
class JsonItem:
    """One object of the list, with its place for error messages. Every getter raises :class:`BenchmarkError`."""

    path: Path
    position: int
    fields: dict[str, object]

    def has(self, key: str) -> bool:
        """Return whether the key is there and not null."""
        return self.fields.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string, or ``default`` for a missing key or null."""
        if default is not None and not self.has(key):
            return default
        value = self._required(key)
        if not isinstance(value, str):
            raise self.problem(f"{key!r} must be a string, but is {value!r:.80}")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self.problem(f"{key!r} must be Unicode text, but has half a surrogate pair: {value!r:.80}")
        return value

    def words(self, key: str) -> str:
        """Return a string without surrounding space; it must not be blank."""
        value = self.text(key).strip()
        if not value:
            raise self.problem(f"{key!r} must not be blank, but is")
        return value

    def number(self, key: str) -> int:
        """Return an integer; a string of digits counts as one."""
        value = self._required(key)
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.problem(f"{key!r} must be an integer, but is {value!r:.80}")
        return value

    def array(self, key: str) -> list[object]:
        """Return a list."""
        value = self._required(key)
        if not isinstance(value, list):
            raise self.problem(f"{key!r} must be a list, but is {value!r:.80}")
        return value

    def problem(self, message: str) -> BenchmarkError:
        """Return an error that names the file and the item."""
        return BenchmarkError(f"{message}, in item {self.position} of {self.path}; mend the file")

    def _required(self, key: str) -> object:
        if key not in self.fields:
            raise self.problem(f"every item must have the key {key!r}, but it is missing")
        return self.fields[key]


def read_items(path: Path) -> list[JsonItem]:
    """Return the objects of a JSON list; raise :class:`BenchmarkError` for a file that is missing or malformed."""
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
    for position, fields in enumerate(document):
        if not isinstance(fields, dict):
            raise BenchmarkError(f"a benchmark file must be a list of objects, but item {position} of {path} is not")
    return [JsonItem(path, position, fields) for position, fields in enumerate(document)]


def require_folder(root: Path) -> None:
    """Raise :class:`BenchmarkError` unless ``root`` is a folder."""
    if not root.is_dir():
        raise BenchmarkError(f"the benchmark root must be a folder, but {root} is not; see docs/benchmarks.md")
