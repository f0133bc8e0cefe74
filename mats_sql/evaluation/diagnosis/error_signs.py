"""Whether the response to a wrong SQL shows that it is wrong: what a second look can see without knowing better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from mats_sql.sql import Execution, Outcome, Value


class ErrorSign(StrEnum):
    """What in a response shows that its SQL is wrong; ``HIDDEN``: nothing does."""

    FAILED = "did not run"
    NO_ROWS = "no rows"
    BLANK = "only NULL or 0"
    COLUMNS = "number of columns"
    DOUBLED = "every row doubled"
    HIDDEN = "hidden"


def error_sign(wrong: Execution, gold: Execution) -> ErrorSign:
    """Return the first sign of error, in the order of :class:`ErrorSign`, in the response to a wrong SQL.

    It shows when the SQL did not run; has no rows where gold has some; has nothing but NULL and 0 where gold has more;
    has another number of columns than gold; or has every row twice or more where gold has not. The rest is hidden: the
    response looks like a right one. Of a longer result the preview decides, which is what agents are shown a part of;
    its last row may be one whose double is cut off.
    """
    if not wrong.ran:
        return ErrorSign.FAILED
    if wrong.outcome is Outcome.EMPTY and gold.outcome is Outcome.ROWS:
        return ErrorSign.NO_ROWS
    if _blank(wrong.preview) and not _blank(gold.preview):
        return ErrorSign.BLANK
    if len(wrong.columns) != len(gold.columns):
        return ErrorSign.COLUMNS
    return ErrorSign.DOUBLED if _doubled(wrong) and not _doubled(gold) else ErrorSign.HIDDEN


def _blank(rows: Sequence[tuple[Value, ...]]) -> bool:
    return bool(rows) and all(value is None or value == 0 for row in rows for value in row)


def _doubled(execution: Execution) -> bool:
    rows = execution.preview
    times = Counter(rows)
    cut = execution.row_count > len(rows)
    single = [row for row in rows if times[row] == 1]
    return len(rows) > 1 and (not single or (cut and len(rows) > 2 and single == [rows[-1]]))
