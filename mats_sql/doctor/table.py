"""The doctor's table on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from mats_sql.doctor.finding import Finding, Status

_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.MISSING: "bold red"}


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print one row per finding, and one line with the counts."""
    table = Table("check", "", "found", "what to do")
    for item in findings:
        status = f"[{_STYLES[item.status]}]{item.status.value}[/]"
        table.add_row(item.check, status, _plain(item.found), _plain(item.remedy))
    console.print(table)
    counts = {status: sum(item.status is status for item in findings) for status in Status}
    console.print(", ".join(f"{count} {status.value}" for status, count in counts.items()))


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
