"""A small table that prints to a terminal, Markdown and CSV from the same cells."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mats_sql.evaluation.comparison.proportion import Proportion

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Cell = str | int | float | Proportion | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under ``columns``. Proportions print in percent; in CSV they are fractions. None is unknown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def to_rich(self) -> RichTable:
        """Return the table for a terminal."""
        from rich.markup import escape
        from rich.table import Table as RichTable

        caption = escape(self.note) if self.note else None
        table = RichTable(title=escape(self.title), caption=caption, caption_justify="left", title_justify="left")
        for index, column in enumerate(self.columns):
            table.add_column(escape(column), justify="left" if index == 0 else "right")
        for row in self.rows:
            table.add_row(*(escape(_shown(cell)) for cell in row))
        return table

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown, with its title as a heading."""
        rule = ["---", *("---:" for _ in self.columns[1:])]
        lines = [self.columns, rule, *([_shown(cell) for cell in row] for row in self.rows)]
        body = "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"### {self.title}\n\n{body}\n" + (f"\n{self.note}\n" if self.note else "")

    def to_csv(self) -> str:
        """Return the table with full-precision values: fractions, and an empty field for what is unknown."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_raw(cell) for cell in row] for row in self.rows)
        return text.getvalue()


def _shown(cell: Cell) -> str:
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
