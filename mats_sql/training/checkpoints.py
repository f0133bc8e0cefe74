"""Resumable checkpoints: only complete ones count, and only those of the very same training.

The trainer writes a checkpoint file by file, so a kill leaves torn folders. A marker that names the training is put
into each folder last; folders without it, or with another training's, are deleted. Two are kept, so that a kill while
the second is written still finds the first.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

KEPT = 2
_MARKER = "complete"


@dataclass(frozen=True, slots=True)
class CheckpointFolder:
    """The checkpoints of one training; ``fingerprint`` names its settings, seed, data and base model."""

    root: Path
    fingerprint: str

    def newest(self) -> Path | None:
        """Return the complete checkpoint with the most steps, after deleting every other training's and torn ones."""
        self.root.mkdir(parents=True, exist_ok=True)
        complete = []
        for folder in self.root.glob("checkpoint-*"):
            if self._is_complete(folder):
                complete.append(folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return max(complete, key=_steps, default=None)

    def mark_complete(self, step: int) -> None:
        """Declare the checkpoint of ``step`` complete, atomically."""
        folder = self.root / f"checkpoint-{step}"
        draft = folder / f"{_MARKER}.draft"
        draft.write_text(self.fingerprint, encoding="utf-8")
        os.replace(draft, folder / _MARKER)

    def clear(self) -> None:
        """Delete all checkpoints; a finished training needs none."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _is_complete(self, folder: Path) -> bool:
        marker = folder / _MARKER
        return marker.is_file() and marker.read_text(encoding="utf-8") == self.fingerprint


def _steps(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])
