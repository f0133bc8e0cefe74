"""Folders copied without a byte copied, where the file system can."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links where possible. Both sides must never be written in place."""
    shutil.copytree(source, target, copy_function=link_file)


def link_file(source: str, target: str) -> str:
    """Link a file, or copy it where another file system, or one without links, leaves no other way."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
    return target
