"""Digests of files are computed once per content, size and time, and shared."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mats_sql import file_digests
from mats_sql.errors import StageInputError
from mats_sql.file_digests import FileDigests


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read for their digests, in order."""
    files: list[Path] = []
    digest_file = file_digests.digest_file

    def heard(path: Path) -> str:
        files.append(path)
        return digest_file(path)

    monkeypatch.setattr(file_digests, "digest_file", heard)
    return files


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once_by_all_that_share_the_table(tmp_path: Path, read: list[Path]) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"one")
    for _ in range(2):
        with FileDigests(tmp_path / "cache" / "digests.sqlite") as digests:
            assert digests.digest(file) == digests.digest(tmp_path / "cache" / ".." / "data") == sha(b"one")
    assert read == [file]


def test_a_changed_size_or_time_reads_the_file_again(tmp_path: Path, read: list[Path]) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"one")
    with FileDigests(tmp_path / "digests.sqlite") as digests:
        assert digests.digest(file) == sha(b"one")
        file.write_bytes(b"two and more")
        assert digests.digest(file) == sha(b"two and more")
        status = file.stat()
        file.write_bytes(b"TWO and more")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert digests.digest(file) == sha(b"TWO and more")
    assert len(read) == 3


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"one")
    digest_file = file_digests.digest_file

    def while_written(path: Path) -> str:
        found = digest_file(path)
        file.write_bytes(b"longer")
        return found

    with FileDigests(None) as digests:
        monkeypatch.setattr(file_digests, "digest_file", while_written)
        digests.digest(file)
        monkeypatch.undo()
        assert digests.digest(file) == sha(b"longer")


def test_a_table_that_is_no_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "digests.sqlite"
    path.write_bytes(b"no database" * 500)
    with pytest.raises(StageInputError, match=r"the table of file digests must be writable, but .*; delete it"):
        FileDigests(path)
