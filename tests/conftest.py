"""Real parts that tests of several folders share: the packaged base model and a few questions of a small lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mats_sql.config import SqlLimits
from mats_sql.generation.engine import Engine
from mats_sql.generation.open import open_engine
from mats_sql.lab.base import base_model_path
from mats_sql.rollout.sample import Source
from mats_sql.sql.executor import SqlExecutor
from tests.lab_source import GENERATION, lab_source


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The first questions of a small lab."""
    return lab_source(tmp_path_factory.mktemp("lab"), questions=6)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine on the packaged base model."""
    opened = open_engine(GENERATION, base_model_path())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def executor() -> Iterator[SqlExecutor]:
    """A SQL executor of one worker."""
    with SqlExecutor(SqlLimits(), 1) as opened:
        yield opened
