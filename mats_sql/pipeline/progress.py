"""What a user sees while an experiment runs: a live line for the stage at work, a lasting line per finished stage."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

_BAR_WIDTH = 16
_FILE_WIDTH = 160


def result_console() -> Console:
    """Return the console for results: as wide as the terminal, and wide enough for every column elsewhere."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_FILE_WIDTH)


class Progress:
    """Print what runs and what ended to standard error; results go to standard output.

    The live line is for terminals only: it has a bar, which fills where the work's total is known. Of several processes
    at most one may be ``live``.
    """

    def __init__(self, console: Console | None = None, *, live: bool = True) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._shows = live and self._console.is_terminal
        self._live: tuple[Bars, TaskID] | None = None

    def started(self, title: str) -> None:
        """Show that a stage is at work."""
        if self._shows:
            self.stopped()
            # the text gives way where the terminal is narrow, not the bar
            text = TextColumn(
                "{task.description}  {task.fields[detail]}", markup=False, table_column=Column(ratio=1, no_wrap=True)
            )
            columns = (SpinnerColumn(), BarColumn(_BAR_WIDTH), text)
            bars = Bars(*columns, console=self._console, transient=True, expand=True)
            self._live = bars, bars.add_task(title, total=None, detail="")
            bars.start()

    def update(self, detail: str, done: int, total: int) -> None:
        """Show how far the stage at work is: ``done`` of ``total``, in words and as a bar."""
        if self._live is not None:
            bars, task = self._live
            bars.update(task, completed=done, total=total, detail=detail)

    def counter(self, deed: str) -> Callable[[int, int], None]:
        """Return a callback that shows how many of how many are done."""
        return lambda done, total: self.update(f"{done:,} of {total:,} {deed}", done, total)

    def stopped(self) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live[0].stop()
            self._live = None

    def finished(self, title: str, run_id: str, elapsed_s: float, *, reused: bool) -> None:
        """Say that a stage ended, in which run and after how long."""
        self.stopped()
        mark, note = ("=", "reused") if reused else ("✓", f"{elapsed_s:.1f} s")
        self._console.print(f"{mark} {title:<56} run {run_id[:8]}  {note}")

    def note(self, text: str) -> None:
        """Say something that a user should know."""
        self._console.print(text, markup=False)
