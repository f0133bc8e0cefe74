"""A PostgreSQL server of the tests' own, from Debian's package."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SCHEMA = """
CREATE ROLE owner LOGIN;
CREATE DATABASE hero OWNER owner;
"""


class Postgres:
    """A server in a folder of its own, reached through a socket there; it may be stopped and started again."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._folder = folder
        self._binaries = binaries
        self.url = f"postgresql+psycopg2://owner@/hero?host={folder}"
        """The database ``hero``, for a user who owns it and is no superuser."""

    def create(self) -> None:
        options = ("-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8")
        self._run("initdb", "-D", self._folder / "data", *options)
        self.start()
        self._run("psql", "-h", self._folder, "-U", "postgres", "-v", "ON_ERROR_STOP=1", input_text=_SCHEMA)

    def start(self) -> None:
        options = f"-k {self._folder} -c listen_addresses= -c fsync=off -c max_connections=20"
        self._control("-o", options, "-l", self._folder / "log", "-t", "120", "start")

    def stop(self) -> None:
        """End it at once, with every connection, as a crash does."""
        self._control("-m", "immediate", "stop")

    @property
    def runs(self) -> bool:
        return (self._folder / "data" / "postmaster.pid").exists()

    def _control(self, *arguments: object) -> None:
        self._run("pg_ctl", "-D", self._folder / "data", "-w", *arguments)

    def _run(self, program: str, *arguments: object, input_text: str = "") -> None:
        command = [str(self._binaries / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(
            command, input=input_text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stdout


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server, or skip the test where PostgreSQL is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("needs PostgreSQL: /usr/lib/postgresql is not there; apt-get install postgresql")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("needs runuser: PostgreSQL does not start as root")
    folder = Path(tempfile.mkdtemp(prefix="mats-sql-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = Postgres(folder, programs[-1].parent)
    try:
        server.create()
        yield server
    finally:
        if server.runs:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server; yield the URL of its empty database."""
    with running_postgres() as server:
        yield server.url
