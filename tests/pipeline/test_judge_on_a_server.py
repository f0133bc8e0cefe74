"""``judge --database URL``: the same candidates on a real PostgreSQL, and one line for every bad address."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mats_sql.errors import ConfigError, MatsError
from mats_sql.pipeline.judge import JudgeRequest, judge_file
from mats_sql.sql.address import read_address, shown
from tests.pipeline.test_judge_stage import COMMAND, write_benchmark, write_candidates
from tests.postgres import postgres_server

PASSWORD = "open-sesame"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start a PostgreSQL whose table ``hero`` has other rows than the benchmark's file: no ``Bo``, but a ``Cy``."""
    with postgres_server() as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE hero (id INTEGER, name TEXT)"))
            connection.execute(text("INSERT INTO hero VALUES (1, 'Ada'), (3, 'Cy')"))
        engine.dispose()
        yield url


def judged(folder: Path, url: str, candidates: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    root, out = folder / "benchmark", folder / "out.jsonl"
    command = [*COMMAND, "--benchmark-root", str(root), "--candidates", str(candidates), "--out", str(out)]
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}  # its own, whatever store other tests set
    done = subprocess.run(
        [*command, "--database", url], capture_output=True, text=True, check=False, cwd=folder, env=os.environ | store
    )
    return done, out


def with_password(url: str) -> str:
    return url.replace("owner@", f"owner:{PASSWORD}@")


def written(folder: Path) -> bytes:
    """Return all bytes of all files: the verdicts, the receipt and MLflow's store."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_candidates_and_golds_run_on_the_server_instead_of_the_files(tmp_path: Path, server: str) -> None:
    write_benchmark(tmp_path)
    path = tmp_path / "candidates.jsonl"
    sqls = {
        "servers-rows": "SELECT * FROM (VALUES ('Cy'), ('Ada')) AS v",
        "files-rows": "SELECT * FROM (VALUES ('Bo'), ('Ada')) AS v",
        "dialect": "SELECT DISTINCT ON (name) name::text FROM hero",
        "writes": "DROP TABLE hero",
        "none": None,
    }
    path.write_text("\n".join(json.dumps({"question_id": number, "candidates": sqls}) for number in (2, 0, 1)))
    done, out = judged(tmp_path, with_password(server) + f"&password={PASSWORD}", path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    verdicts = [(line["question_id"], line["official"]) for line in lines]
    assert verdicts == [
        *[(2, "gold_unavailable")] * 5,
        *[(0, verdict) for verdict in ("correct", "wrong", "correct", "refused", "error")],
        *[(1, "gold_unavailable")] * 4,
        (1, "error"),
    ]
    assert lines[5]["ordered"] == "wrong"
    receipt = json.loads((tmp_path / "out.jsonl.receipt.json").read_text())
    assert (receipt["judged"], receipt["correct"], receipt["without_database"]) == (2, 1, 1)
    assert receipt["databases"]["hero"].startswith("postgresql+psycopg2://owner@/hero (postgresql ")
    assert "1 questions have no database here" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD.encode() not in written(tmp_path)
    assert b"postgresql+psycopg2://owner@/hero" in (tmp_path / "mlflow.db").read_bytes(), "the run says where"


NOWHERE = f"owner:{PASSWORD}@127.0.0.1:1/hero"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (f"postgresql://{NOWHERE}", "must be reachable, but postgresql+psycopg2://owner@127.0.0.1:1/hero"),
        (f"mysql://{NOWHERE}", "must be reachable, but mysql+pymysql://owner@127.0.0.1:1/hero"),
        (f"mariadb://{NOWHERE}?unknown=1", "must be reachable, but mariadb+pymysql://owner@127.0.0.1:1/hero"),
        (f"postgresql://{NOWHERE}?unknown=1", "must be reachable, but postgresql+psycopg2://owner@127.0.0.1:1/hero"),
        (f"postgresql://owner:{PASSWORD}@127.0.0.1:1/other", "none of the databases"),
        (f"oracle://{NOWHERE}", "must be PostgreSQL, MySQL or MariaDB, but the address begins with 'oracle'"),
        ("sqlite:///hero.sqlite", "must be PostgreSQL, MySQL or MariaDB"),
        (f"postgresql+asyncpg://{NOWHERE}", "the driver of postgresql must be 'psycopg2', but is 'asyncpg'"),
        (f"postgresql://owner:{PASSWORD}@host", "must end in a database, but postgresql://owner@host does not"),
        (f"postgresql://owner:{PASSWORD}@host:port/hero", "must be a URL"),
        (PASSWORD, "must be a URL"),
    ],
)
def test_a_bad_address_is_an_error_without_the_password(tmp_path: Path, url: str, complaint: str) -> None:
    root, candidates, out = write_benchmark(tmp_path), write_candidates(tmp_path), tmp_path / "out.jsonl"
    with pytest.raises(MatsError) as caught:
        judge_file(JudgeRequest(root, candidates, out, server=url))
    assert complaint in str(caught.value)
    assert PASSWORD not in str(caught.value) + repr(JudgeRequest(root, candidates, out, server=url))
    assert not out.exists()


def test_a_server_that_is_not_there_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    done, out = judged(tmp_path, f"postgresql://{NOWHERE}?password={PASSWORD}", write_candidates(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "must be reachable" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD.encode() not in written(tmp_path)
    assert not out.exists()


def test_an_address_without_a_driver_gets_the_one_that_is_installed() -> None:
    assert read_address("postgresql://host/hero").drivername == "postgresql+psycopg2"
    assert read_address("mysql+pymysql://host/hero").drivername == "mysql+pymysql"
    with pytest.raises(ConfigError, match="must end in a database"):
        read_address("mariadb://host")


def test_an_address_is_shown_without_password_and_options() -> None:
    url = read_address("postgresql://me:secret@host:5433/hero?password=secret&sslmode=require")
    assert shown(url) == "postgresql+psycopg2://me@host:5433/hero"
