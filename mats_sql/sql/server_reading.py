"""The program's own reading of a database server: one read-only transaction, always rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from mats_sql.config import SqlLimits
from mats_sql.errors import DatabaseError
from mats_sql.sql.address import shown
from mats_sql.sql.servers import ServerExecutor, error_line, in_reading_transaction


@contextmanager
def open_server(address: str, limits: SqlLimits) -> Iterator[Connection]:
    """Open a server for reading schema and values, under the statement timeout of ``limits``.

    Raises :class:`ConfigError` for a bad address and :class:`DatabaseError`, without a password, for a server that
    cannot be reached or read.
    """
    with ServerExecutor(address, limits, 1) as executor:
        try:
            with in_reading_transaction(executor) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise DatabaseError(
                f"a database must be readable, but {shown(executor.address)}: {error_line(error, executor.address)}; "
                "check the address and the user's rights"
            ) from None
