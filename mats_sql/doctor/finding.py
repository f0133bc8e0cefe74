"""What one check found: a line of the doctor's table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Whether something is there, is missing (the experiment would stop), or deserves a look before it starts."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check, what it found, and what to do about it (empty where there is nothing to do)."""

    check: str
    status: Status
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """Return the finding of a check that is content."""
    return Finding(check, Status.OK, found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """Return the finding of a check that stops nothing and yet should be read."""
    return Finding(check, Status.WARNING, found, remedy)


def missing(check: str, found: str, remedy: str) -> Finding:
    """Return the finding of a check that would stop the experiment."""
    return Finding(check, Status.MISSING, found, remedy)
