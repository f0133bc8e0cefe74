"""Result tables on a terminal of any width: what fits is printed, and where the rest is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mats_sql.evaluation.report.tables import ResultTable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

ANY_WIDTH = 100_000


def print_tables(console: Console, tables: Iterable[ResultTable], *, rest: str = "report.md of the run") -> None:
    """Print tables in the console's width: with short headers where full ones do not fit, then without columns.

    No cell is wrapped or cut. Columns go in the order that a table declares; its essential ones stay, and when these
    alone are too wide the first one wraps. A line names what was left out and says that it is in ``rest``.
    """
    from rich.text import Text

    for table in tables:
        shown, dropped = _fitted(console, table)
        console.print(Text(table.title, style="bold"))
        console.print(shown)
        if table.note:
            console.print(Text(table.note, style="dim"))
        if dropped:
            names = ", ".join(table.dropped(dropped))
            console.print(Text(f"Left out at this width: {names}. All of it is in {rest}.", style="dim"))
        console.print()


def _fitted(console: Console, table: ResultTable) -> tuple[RichTable, int]:
    """Return the widest variant that fits, and how many droppable groups it leaves out."""
    full = table.to_rich()
    if _width(console, full) <= console.width:
        return full, 0
    for dropped in range(len(table.droppable) + 1):
        shown = table.to_rich(dropped, short=True)
        if _width(console, shown) <= console.width:
            return shown, dropped
    return table.to_rich(len(table.droppable), short=True, fold=True), len(table.droppable)


def _width(console: Console, table: RichTable) -> int:
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(width=ANY_WIDTH), table).maximum
