"""Optuna's storage: a journal file on one machine, a database for several."""

from __future__ import annotations

import re
import time
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from mats_sql.errors import ConfigError

_PASSWORD = re.compile(r"(://[^/\s:@]*):[^@/\s]+@")
_OTHERS_MAKE_TABLES_S = 2.0
LOCK_GRACE_S = 10
"""After so long without a write a journal's lock is a dead process's; a write takes milliseconds."""


def open_storage(storage: Path | str) -> BaseStorage:
    """Open a journal file (a path) or a database (a URL with ``://``), making it when it is not there.

    Raises :class:`ConfigError` when it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if _is_url(storage):
            return _database(_with_driver(str(storage)))
        return _journal(Path(storage))
    except Exception as error:  # noqa: BLE001 - drivers raise their own types; none of them may pass as a traceback
        problem = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"search.storage must open, but {shown(storage)}: {_hidden(problem)}; check the path or URL"
        ) from None


def is_there(storage: Path | str) -> bool:
    """Return whether a storage may hold a study: a journal that exists, or any database."""
    return _is_url(storage) or Path(storage).exists()


def shown(storage: Path | str) -> str:
    """Return a storage's address as errors may show it: without a password."""
    return _hidden(str(storage))


def _is_url(storage: Path | str) -> bool:
    return isinstance(storage, str) and "://" in storage


def _database(url: str) -> BaseStorage:
    """Open a database; again where another process was making its tables at the same moment, which breaks off ours."""
    try:
        return RDBStorage(url)
    except (IntegrityError, ProgrammingError, OperationalError) as error:
        if not re.search("exist|duplicate", str(error)):
            raise
        time.sleep(_OTHERS_MAKE_TABLES_S)
        return RDBStorage(url)


def _with_driver(url: str) -> str:
    """Return the address with the PostgreSQL driver that the extra ``databases`` installs, where it names none."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", url)


def _hidden(text: str) -> str:
    return _PASSWORD.sub(r"\1:…@", text)


def _journal(path: Path) -> BaseStorage:
    # Absolute: Optuna's lock is a symbolic link to the journal, and through a dangling relative one it could not see
    # that a killed process left the lock behind.
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileSymlinkLock(str(path), grace_period=LOCK_GRACE_S)
    if path.exists():
        _drop_torn_line(path, lock)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _drop_torn_line(path: Path, lock: JournalFileSymlinkLock) -> None:
    """Cut an unfinished last line, which a process killed while writing leaves behind.

    Optuna tolerates it on reading, but its next append would glue to it and make the journal unreadable. Writers hold
    the lock while they write, so under the lock an unfinished line is nobody's.
    """
    lock.acquire()
    try:
        with path.open("rb+") as stream:
            stream.truncate(stream.read().rfind(b"\n") + 1)
    finally:
        lock.release()
