"""A small table that prints to a terminal, Markdown and CSV from the same cells."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mats_sql.evaluation.comparison.proportion import Proportion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table as RichTable

Cell = str | int | float | Proportion | None


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Rows of cells under ``columns``. Proportions print in percent; in CSV they are fractions. None is unknown.

    A terminal may be too narrow for all columns: ``short`` are headers for it, and ``droppable`` are the groups of
    columns that it may leave out, in the order in which they go. The others are essential and always shown.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    droppable: tuple[tuple[str, ...], ...] = ()
    short: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = {*self.dropped(len(self.droppable)), *self.short} - {*self.columns[1:]}
        if unknown:
            raise ValueError(f"droppable and short must name columns after the first, but got {sorted(unknown)}")

    def dropped(self, groups: int) -> tuple[str, ...]:
        """Return the columns of the first ``groups`` droppable groups."""
        return tuple(name for group in self.droppable[:groups] for name in group)

    def to_rich(self, dropped: int = 0, *, short: bool = False, fold: bool = False) -> RichTable:
        """Return the table for a terminal, without its first ``dropped`` droppable groups; no cell wraps.

        ``short`` takes the short headers; ``fold`` lets the first column wrap, for when nothing else is left.
        """
        from rich import box
        from rich.markup import escape
        from rich.table import Table as RichTable

        gone = self.dropped(dropped)
        kept = [index for index, name in enumerate(self.columns) if name not in gone]
        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
        for index in kept:
            name = self.columns[index]
            header = escape(self.short.get(name, name) if short else name)
            no_wrap = index > 0 or not fold
            table.add_column(header, justify="right" if index else "left", no_wrap=no_wrap, overflow="fold")
        for row in self.rows:
            table.add_row(*(escape(shown(row[index])) for index in kept))
        return table

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown, with its title as a heading."""
        rule = ["---", *("---:" for _ in self.columns[1:])]
        lines = [self.columns, rule, *([shown(cell) for cell in row] for row in self.rows)]
        body = "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"### {self.title}\n\n{body}\n" + (f"\n{self.note}\n" if self.note else "")

    def to_csv(self) -> str:
        """Return the table with full-precision values: fractions, and an empty field for what is unknown."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_raw(cell) for cell in row] for row in self.rows)
        return text.getvalue()


def shown(cell: Cell) -> str:
    """Return a cell as a reader sees it: percent for proportions, a dash for what is unknown."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, Proportion):
        return cell.percent
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _raw(cell: Cell) -> str:
    value = cell.value if isinstance(cell, Proportion) else cell
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)
