"""Optuna's storage: a journal file on one machine, a database for several."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file

from mats_sql.errors import ConfigError


def open_storage(storage: Path | str) -> BaseStorage:
    """Open a journal file (a path) or a database (a URL with ``://``), making it when it is not there.

    Raises :class:`ConfigError` when it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if isinstance(storage, str) and "://" in storage:
            return RDBStorage(storage)
        return _journal(Path(storage))
    except Exception as error:  # noqa: BLE001 - drivers raise their own types; none of them may pass as a traceback
        problem = " ".join(str(error).split())[:200]
        raise ConfigError(f"search.storage must open, but {storage}: {problem}; check the path or URL") from None


def _journal(path: Path) -> BaseStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _drop_torn_line(path)
    return JournalStorage(JournalFileBackend(str(path)))


def _drop_torn_line(path: Path) -> None:
    """Cut an unfinished last line, which a process killed while writing leaves behind.

    Optuna tolerates it on reading, but its next append would glue to it and make the journal unreadable. Writers hold
    the lock while they write, so under the lock an unfinished line is nobody's.
    """
    with get_lock_file(JournalFileSymlinkLock(str(path))), path.open("rb+") as stream:
        content = stream.read()
        stream.truncate(content.rfind(b"\n") + 1)
