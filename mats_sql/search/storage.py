"""Optuna's storage: a journal file on one machine, a database for several.

A database that is stopped during a search is waited for: a trial of many minutes is not lost to a restart of seconds.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy import event
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from mats_sql.errors import ConfigError, TrackingError, without_password

_logger = logging.getLogger(__name__)

_OTHERS_MAKE_TABLES_S = 2.0
LOCK_GRACE_S = 10
"""After so long without a write a journal's lock is a dead process's; a write takes milliseconds."""
PATIENCE_S = 240.0
"""How long a database that was there may be away: as long as MLflow waits for a tracking server."""
_RETRY_S = 1.0


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
            f"search.storage must open, but {shown(storage)}: {without_password(problem)}; check the path or URL"
        ) from None


@contextmanager
def storage_failures(storage: Path | str) -> Iterator[None]:
    """Turn a database that stays away, or breaks off in the middle of a statement, into one line."""
    try:
        yield
    except (DBAPIError, StorageInternalError) as error:
        problem = " ".join(str(error.__cause__ or error).split())[:200]
        raise TrackingError(
            f"search.storage must answer, but {shown(storage)}: {without_password(problem)}; start it and run the same "
            "command again: what it had ended is kept"
        ) from None


def is_there(storage: Path | str) -> bool:
    """Return whether a storage may hold a study: a journal that exists, or any database."""
    return _is_url(storage) or Path(storage).exists()


def shown(storage: Path | str) -> str:
    """Return a storage's address as errors may show it: without a password."""
    return without_password(str(storage))


def _is_url(storage: Path | str) -> bool:
    return isinstance(storage, str) and "://" in storage


def _database(url: str) -> BaseStorage:
    """Open a database; again where another process was making its tables at the same moment, which breaks off ours."""
    try:
        return _patient(url)
    except (IntegrityError, ProgrammingError, OperationalError) as error:
        if not re.search("exist|duplicate", str(error)):
            raise
        time.sleep(_OTHERS_MAKE_TABLES_S)
        return _patient(url)


def _patient(url: str) -> BaseStorage:
    """Open a database that must be there now, and may be away for a while later on."""
    storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    event.listen(storage.engine, "do_connect", _connected)
    return storage


def _connected(dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect anew, again and again for as long as the patience lasts."""
    started, told = time.monotonic(), False
    while True:
        try:
            return dialect.connect(*arguments, **options)
        except dialect.loaded_dbapi.OperationalError:
            if time.monotonic() - started > PATIENCE_S:
                raise
            if not told:
                _logger.warning("search.storage does not answer; waiting for it, %.0f s at most", PATIENCE_S)
            told = True
            time.sleep(_RETRY_S)


def _with_driver(url: str) -> str:
    """Return the address with the PostgreSQL driver that the extra ``databases`` installs, where it names none."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", url)


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
