"""A small table that prints to a terminal, Markdown and CSV from the same cells."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mats_sql.evaluation.comparison.proportion import Proportion

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

Cell = str | int | float | Proportion | None


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Rows of cells under ``columns``. Proportions print in percent; in CSV they are fractions. None is unknown.

    ``optional`` names the columns that a narrow terminal does without, the first to go first.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    optional: tuple[str, ...] = ()

    def fitted(self, width: int) -> ResultTable:
        """Return the table as it fits ``width`` characters: headers broken at spaces, then optional columns left out.

        A table whose other columns are wider than that is returned with them all: nothing else is ever left out.
        """
        if self.printed_width() <= width:
            return self
        table = replace(self, columns=(self.columns[0], *(_broken(column) for column in self.columns[1:])))
        for column in self.optional:
            if table.printed_width() <= width:
                break
            table = table._without(_broken(column))
        left_out = len(self.columns) - len(table.columns)
        more = f"{left_out} more column{'s' if left_out > 1 else ''} in the run's report." if left_out else ""
        return replace(table, note=" ".join(part for part in (self.note, more) if part))

    def to_rich(self) -> RichTable:
        """Return the table for a terminal."""
        from rich.markup import escape
        from rich.table import Table as RichTable

        caption = escape(self.note) if self.note else None
        table = RichTable(title=escape(self.title), caption=caption, caption_justify="left", title_justify="left")
        for index, column in enumerate(self.columns):
            table.add_column(escape(column), justify="left" if index == 0 else "right", no_wrap=index > 0)
        for row in self.rows:
            table.add_row(*(escape(_shown(cell)) for cell in row))
        return table

    def printed_width(self) -> int:
        """Return how many characters wide the terminal's table is: cells, a space on either side, and the rules."""
        lines = [self.columns, *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(part) for cell in column for part in cell.split("\n")) for column in zip(*lines, strict=True)]
        return sum(widths) + 3 * len(widths) + 1

    def _without(self, column: str) -> ResultTable:
        kept = [index for index, name in enumerate(self.columns) if name != column]
        rows = tuple(tuple(row[index] for index in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[index] for index in kept), rows=rows)

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


def print_tables(console: Console, tables: Iterable[ResultTable]) -> None:
    """Print tables as they fit the terminal; into a file or a pipe they go whole."""
    for table in tables:
        shown = table.fitted(console.width) if console.is_terminal else table
        width = console.width if console.is_terminal else max(console.width, table.printed_width())
        console.print(shown.to_rich(), end="\n\n", width=width)


def _broken(header: str) -> str:
    return header.replace(" ", "\n").replace("@", "\n@")


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
