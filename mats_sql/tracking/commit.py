"""Which code is running."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

UNKNOWN = "unknown"


@cache
def code_commit() -> str:
    """Return the commit of this package's checkout, with ``-dirty`` when tracked files differ from it.

    ``unknown`` when the package is not in a git checkout or git is not installed.
    """
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return UNKNOWN
    return f"{commit}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else commit


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
