"""What a user sees while an experiment runs: a live line for the stage at work, a lasting line per finished stage."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status


class Progress:
    """Print what runs and what ended to standard error; results go to standard output."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._title = ""

    def started(self, title: str) -> None:
        """Show that a stage is at work; on a terminal only."""
        self._title = title
        if self._console.is_terminal:
            self._status = self._console.status(title)
            self._status.start()

    def update(self, detail: str) -> None:
        """Show how far the stage at work is."""
        if self._status is not None:
            self._status.update(f"{self._title}  [dim]{detail}[/dim]")

    def stopped(self) -> None:
        """Take the live line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def finished(self, title: str, run_id: str, elapsed_s: float, *, reused: bool) -> None:
        """Say that a stage ended, in which run and after how long."""
        self.stopped()
        mark, note = ("=", "reused") if reused else ("✓", f"{elapsed_s:.1f} s")
        self._console.print(f"{mark} {title:<56} run {run_id[:8]}  {note}")

    def note(self, text: str) -> None:
        """Say something that a user should know."""
        self._console.print(text, markup=False)
