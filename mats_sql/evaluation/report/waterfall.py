"""From the planner's first SQL to the selector's choice: what each part of a team adds, and each regime in the end."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from mats_sql.evaluation.report.figures import GREY, INK, colour, new_figure, plain_axes
from mats_sql.evaluation.report.tables import Cell, ResultTable


@dataclass(frozen=True, slots=True)
class Step:
    """A station's name and the EX (a fraction, the mean of its seeds) up to there."""

    name: str
    ex: float


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One line's stations, each a team that has one part more, and the regimes, which all start from the last one."""

    line: str
    steps: tuple[Step, ...]
    regimes: tuple[Step, ...]

    def changes(self) -> list[tuple[str, float, float]]:
        """Return (name, EX before, EX after) of every station after the first, and of every regime."""
        stations = [
            (after.name, before.ex, after.ex) for before, after in zip(self.steps, self.steps[1:], strict=False)
        ]
        return stations + [(regime.name, self.steps[-1].ex, regime.ex) for regime in self.regimes]


def waterfall_table(fall: Waterfall) -> ResultTable:
    """Return EX at every station and the points that it adds."""
    rows: list[tuple[Cell, ...]] = [(fall.steps[0].name, f"{100 * fall.steps[0].ex:.2f}", None)]
    rows += [(name, f"{100 * after:.2f}", f"{100 * (after - before):+.2f}") for name, before, after in fall.changes()]
    note = (
        "EX in percent of all usable dev questions, means over seeds. Each station is a team of its own that has one "
        "part more; every regime starts from the last station before it. No test: gaps are tested above."
    )
    return ResultTable(f"From planner@1 to selector EX, {fall.line}", ("station", "EX", "points"), tuple(rows), note)


def waterfall_figure(fall: Waterfall) -> Figure:
    """Return the stations as floating bars."""
    changes = fall.changes()
    figure = new_figure(f"From planner@1 to selector EX, {fall.line}", height=1.9 + 0.42 * (len(changes) + 1))
    axes = plain_axes(figure.add_subplot(), grid="x")
    first = 100 * fall.steps[0].ex
    axes.barh(0, first, color=GREY)
    axes.text(first, 0, f" {first:.2f}", va="center", fontsize=9, color=INK)
    for row, (_, before, after) in enumerate(changes, start=1):
        low, high = sorted((100 * before, 100 * after))
        shade = colour(2) if after >= before else colour(1)
        axes.barh(row, max(high - low, 0.15), left=low, color=shade)
        axes.text(high, row, f" {100 * after:.2f} ({100 * (after - before):+.2f})", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(changes) + 1), [fall.steps[0].name, *(name for name, _, _ in changes)], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.set_xlabel("EX, %")
    return figure
