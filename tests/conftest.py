"""Real parts that tests of several folders share: the base model, a few lab questions, a schema, real BIRD files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mats_sql.benchmark.schema import Column, ForeignKey, Schema, Table
from mats_sql.config import SqlLimits
from mats_sql.generation.engine import Engine
from mats_sql.generation.open import open_engine
from mats_sql.lab.base import base_model_path
from mats_sql.rollout.sample import Source
from mats_sql.sql.executor import SqlExecutor
from mats_sql.tracking.store import connect
from tests.lab_source import GENERATION, lab_source

# How long a test takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

EXPERIMENTS = {"tracked": "the tiny experiment", "finished": "the small experiment", "killed": "the small experiment"}
"""Fixtures of an experiment that many tests share, and what it is called: the longest work, the longest first."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Keep in one process of several what shares an experiment, else a file, and begin with the longest.

    A wrapper begins before every other hook: pytest-xdist reads the marks in its own.
    """
    names = list(dict.fromkeys(EXPERIMENTS.values()))
    groups = {item: _group(item) for item in items}
    items.sort(key=lambda item: names.index(groups[item]) if groups[item] in names else len(names))
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    yield


def _group(item: pytest.Item) -> str:
    used = getattr(item, "fixturenames", ())
    return next((name for fixture, name in EXPERIMENTS.items() if fixture in used), item.nodeid.partition("::")[0])


@pytest.fixture(autouse=True)
def own_code() -> Iterator[None]:
    """MLflow puts the code of a model that it loads first on the import path, for good: later tests need this code."""
    yield
    sys.path[:] = [entry for entry in sys.path if not entry.endswith("artifacts/code")]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a served team keeps lies with the tests' other files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        connect("unused", folder / "work")
    return folder / "mlflow.db"


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


@pytest.fixture(scope="session")
def schema() -> Schema:
    """Singers and concerts: one foreign key, a name that needs quotes, a column name in both tables."""
    singer = Table("singer", (Column("id", "integer", True), Column("name", "text"), Column("Age", "integer")))
    concert = Table(
        "concert",
        (
            Column("id", "integer", True),
            Column("singer_id", "integer"),
            Column("year", "integer"),
            Column("Ticket Price", "real"),
        ),
    )
    return Schema("music", (singer, concert), (ForeignKey("concert", "singer_id", "singer", "id"),))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real benchmark files; without it the test is skipped."""
    root = Path(os.environ.get("MATS_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))
    if not (root / "data" / "bird" / "dev.json").is_file():
        pytest.skip(f"no BIRD files under {root}; set MATS_SHARED to the folder that holds data/bird")
    return root
