"""Fixtures of the SQL tests: a small odd database, an executor of two workers, a judge without a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mats_sql.config import SqlLimits
from mats_sql.sql.executor import SqlExecutor
from mats_sql.sql.judge import Judge
from tests.sql.hostile_cases import write_odd_database

SMALL = SqlLimits(
    timeout_s=4,
    max_steps=10_000_000,
    judge_min_steps=1_000_000,
    max_rows=100_000,
    max_result_bytes=32 << 20,
    memory_mib=512,
)


@pytest.fixture(scope="session")
def odd_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd") / "odd.sqlite"
    write_odd_database(path)
    return path


@pytest.fixture(scope="session")
def executor() -> Iterator[SqlExecutor]:
    with SqlExecutor(SMALL, workers=2) as opened:
        yield opened


@pytest.fixture
def judge(executor: SqlExecutor) -> Iterator[Judge]:
    with Judge(executor, None) as opened:
        yield opened
