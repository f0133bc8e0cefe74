"""What came of running one SQL: data, never an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mats_sql.sql.sandbox.nearest import Nearest

Value = None | int | float | str | bytes
Row = tuple[Value, ...]


class Outcome(StrEnum):
    """How an execution ended."""

    ROWS = "rows"
    EMPTY = "empty"
    ERROR = "error"
    TIMEOUT = "timeout"
    TOO_BIG = "too_big"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Execution:
    """The outcome of one SQL on one database.

    ``preview`` holds the first few rows only, long values cut. ``digest`` is the order-free digest of all rows under
    BIRD's set reading (equal exactly when the sets of rows are equal; empty string without a complete result);
    ``multiset_digest`` also depends on multiplicity, ``ordered_digest`` on order too. ``nearest`` names stored
    values for the SQL's literals that no row has (SQLite only). ``tried`` is the SQL with the nearest
    name in the place of one that the database lacks, and ``retried`` what that answers; it then has the ``nearest``
    too, and no time of its own. ``elapsed_s`` never takes part in equality of meaning.
    """

    outcome: Outcome
    columns: tuple[str, ...] = ()
    preview: tuple[Row, ...] = ()
    row_count: int = 0
    digest: str = ""
    ordered_digest: str = ""
    error: str = ""
    elapsed_s: float = 0.0
    multiset_digest: str = ""
    nearest: tuple[Nearest, ...] = ()
    retried: Execution | None = None
    tried: str = ""

    @property
    def ran(self) -> bool:
        """Whether the SQL executed to the end (with or without rows)."""
        return self.outcome in (Outcome.ROWS, Outcome.EMPTY)
