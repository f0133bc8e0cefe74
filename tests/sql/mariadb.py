"""A MariaDB server of the tests' own, from Debian's packages. It speaks MySQL's protocol."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_START_S = 120
_SCHEMA = """
CREATE DATABASE hero;
CREATE USER owner@localhost;
GRANT ALL ON hero.* TO owner@localhost;
"""


@contextmanager
def mariadb_server() -> Iterator[str]:
    """Start a server; yield the URL of its database ``hero``, for the tables' owner without any global right."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
    install, server = (shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd"))
    if install is None or server is None:
        pytest.skip("needs MariaDB: mariadbd is not there; apt-get install mariadb-server-core mariadb-client-core")
    user = ["--user=root"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="mats-sql-mariadb-"))
    try:
        options = ["--no-defaults", *user, f"--datadir={folder / 'data'}"]
        _install([install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"])
        (folder / "schema.sql").write_text(_SCHEMA)
        process = _start([server, *options, "--skip-networking", f"--init-file={folder / 'schema.sql'}"], folder)
        try:
            _wait(process, folder)
            yield f"mysql+pymysql://owner@localhost/hero?unix_socket={folder / 'socket'}&ssl_disabled=true"
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _install(command: list[str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    small = ["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", "--max-connections=30"]
    files = [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([*command, *small, *files], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Return when the server takes connections, which it does only after its schema is made."""
    ends = time.monotonic() + _START_S
    while "ready for connections" not in (log := (folder / "log").read_text(errors="replace")):
        assert process.poll() is None, log
        assert time.monotonic() < ends, log
        time.sleep(0.1)
