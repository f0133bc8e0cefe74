"""The address of a database server: SQLAlchemy's URL, checked, and shown without its secrets."""

from __future__ import annotations

from importlib.util import find_spec

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from mats_sql.errors import ConfigError

_DRIVERS = {"postgresql": "psycopg2", "mysql": "pymysql", "mariadb": "pymysql"}
_EXAMPLE = "postgresql://reader@host/database"


def read_address(text: str) -> URL:
    """Return a URL of PostgreSQL, MySQL or MariaDB with the driver that this project uses for it.

    Raises :class:`ConfigError`, which never repeats what may hold a password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"a database server's address must be a URL, but the one given is not; write {_EXAMPLE}"
        ) from None
    dialect, _, driver = url.drivername.partition("+")
    if dialect not in _DRIVERS:
        raise ConfigError(
            f"a database server must be PostgreSQL, MySQL or MariaDB, but the address begins with {dialect!r}; "
            f"write {_EXAMPLE}"
        )
    wanted = _DRIVERS[dialect]
    if driver not in ("", wanted):
        raise ConfigError(f"the driver of {dialect} must be {wanted!r}, but is {driver!r}; write {dialect}+{wanted}://")
    if not url.database:
        raise ConfigError(f"a database server's address must end in a database, but {shown(url)} does not")
    if find_spec(wanted) is None:
        raise ConfigError(
            f"{dialect} needs the package {wanted}, but it is missing; install with pip install 'mats-sql[databases]'"
        )
    return url.set(drivername=f"{dialect}+{wanted}")


def shown(url: URL) -> str:
    """Return the address as messages and records may have it: no password, no options (which may hold one)."""
    visible = URL.create(url.drivername, url.username, host=url.host, port=url.port, database=url.database)
    return visible.render_as_string()
