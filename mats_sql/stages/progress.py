"""A line per stage on the terminal, with its MLflow run and its time."""

from __future__ import annotations

from rich.console import Console


class Progress:
    """Print what starts and what ended; everything goes to standard error, results to standard output."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def started(self, title: str) -> None:
        """Say that a stage begins."""
        if self._console.is_terminal:
            self._console.print(f"[dim]… {title}[/dim]")

    def finished(self, title: str, run_id: str, elapsed_s: float, *, reused: bool) -> None:
        """Say that a stage ended, in which run and after how long."""
        mark, note = ("=", "reused") if reused else ("✓", f"{elapsed_s:.1f} s")
        self._console.print(f"{mark} {title:<44} run {run_id[:8]}  {note}")

    def note(self, text: str) -> None:
        """Say something that a user should know."""
        self._console.print(text)
