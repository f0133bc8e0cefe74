"""What breaks around a stage, for real: a full disk, a place that takes no writes, a copied store, a stopped server."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from mats_sql.command import one_line_errors
from mats_sql.errors import TrackingError
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import Store, connect
from tests.postgres import Postgres, running_postgres

STAGE = Stage(StageKey("rollout", 1), "rollout", {"k": 4})
ROWS = 400_000


def write_rows(run: StageRun) -> None:
    """Write four megabytes, going on where an earlier attempt ended."""
    path = run.work / "rows.txt"
    done = path.stat().st_size // 11 if path.exists() else 0
    with path.open("r+b" if path.exists() else "wb") as stream:
        stream.seek(11 * done)
        stream.writelines(b"%010d\n" % number for number in range(done, ROWS))
    run.output("rows", ArtifactKind.DATASET, path)


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as a full disk or a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_the_same_stage_ends_with_the_same_bytes(
    store: Store, store_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = (store_folder / "mlflow.db").stat().st_size + 1_000_000
    with disk_of(room), pytest.raises(SystemExit) as ended, one_line_errors():
        run_stage(store, STAGE, write_rows)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the disk must take what is written, but")
    assert "File too large" in line
    (failed,) = store.client.search_runs([store.experiment_id])
    assert failed.info.status == "FAILED"
    made = run_stage(store, STAGE, write_rows)
    undisturbed = run_stage(store, Stage(STAGE.key, "again", {"k": 5}), write_rows)
    assert made.outputs["rows"].digest == undisturbed.outputs["rows"].digest
    assert made.outputs["rows"].path.stat().st_size == 11 * ROWS
    assert list((tmp_path / "work" / "stages").iterdir()) == []


def test_a_full_disk_under_the_tracking_database_is_one_line(store: Store, store_folder: Path) -> None:
    def busy(run: StageRun) -> None:
        for number in range(20_000):
            run.log_metrics({"loss": 1.0}, number)

    with disk_of((store_folder / "mlflow.db").stat().st_size), pytest.raises(TrackingError) as error:
        run_stage(store, STAGE, busy)
    assert "\n" not in str(error.value)
    assert "full" in str(error.value) or "disk I/O" in str(error.value)
    assert run_stage(store, STAGE, write_rows).outputs


def test_a_work_folder_that_takes_no_writes_is_one_line(store_folder: Path) -> None:  # noqa: ARG001
    with pytest.raises(
        TrackingError, match=r"work_dir must be a folder that can be written to, but /proc/nowhere/work: "
    ):
        connect("test", Path("/proc/nowhere/work"))


def test_a_tracking_database_that_is_read_only_is_one_line(
    store: Store, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///file:{store_folder}/mlflow.db?mode=ro&uri=true")
    with pytest.raises(TrackingError, match="readonly") as error:
        run_stage(connect(store.experiment_name, store.work_dir), STAGE, write_rows)
    assert "\n" not in str(error.value)


def test_a_store_that_was_copied_with_its_artifacts_is_told_before_it_writes_into_the_original(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run_stage(store, STAGE, write_rows)
    copied = shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-copied")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copied}/mlflow.db")
    monkeypatch.chdir(copied)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TrackingError, match="was copied or moved: its artifacts would go to"):
        connect("test", copied / "work")
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    assert run_stage(connect("test", tmp_path / "work"), STAGE, write_rows).run_id == made.run_id


class Server:
    """A tracking server that can be stopped in the middle of a stage and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self._folder / "kept"), "--serve-artifacts"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)  # type: ignore[call-overload]

    def wait(self) -> None:
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=Retry(connect=9, backoff_factor=0.25)))
            assert session.get(f"{self.address}/health", timeout=60).text == "OK"

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(store_folder: Path) -> Iterator[Server]:
    made = Server(store_folder)
    made.start()
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def test_a_tracking_server_that_is_killed_and_started_again_in_a_stage_costs_a_wait(
    server: Server, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    store = connect("remote", store_folder / "work")

    def interrupted(run: StageRun) -> None:
        for step in range(4):
            run.log_metrics({"loss": 1.0 / (step + 1)}, step)
            run.flush()
            if step == 1:
                server.stop()
                server.start()  # nobody waits for it: the next call does
        write_rows(run)

    made = run_stage(store, STAGE, interrupted)
    assert store.run(made.run_id).info.status == "FINISHED"
    assert [point.step for point in store.client.get_metric_history(made.run_id, "loss")] == [0, 1, 2, 3]
    assert made.outputs["rows"].path.stat().st_size == 11 * ROWS


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, store_folder: Path) -> Iterator[Postgres]:  # noqa: ARG001
    """A PostgreSQL server that is the tracking store itself."""
    with running_postgres() as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield server


def test_a_database_stopped_in_a_stage_is_one_line_and_the_same_stage_goes_on_in_its_run(
    database: Postgres, store_folder: Path
) -> None:
    store = connect("direct", store_folder / "work")

    def restarted(run: StageRun) -> None:
        run.log_metrics({"loss": 1.0}, 0)
        run.flush()
        database.stop()
        database.start()
        run.log_metrics({"loss": 0.5}, 1)
        write_rows(run)

    def stopped(run: StageRun) -> None:
        write_rows(run)
        database.stop()

    made = run_stage(store, STAGE, restarted)
    assert [point.step for point in store.client.get_metric_history(made.run_id, "loss")] == [0, 1]
    other = Stage(STAGE.key, "again", {"k": 5})
    with pytest.raises(TrackingError, match="must be able to write to its store") as error:
        run_stage(store, other, stopped)
    assert "\n" not in str(error.value)
    database.start()
    again = run_stage(store, other, write_rows)
    assert again.outputs["rows"].digest == made.outputs["rows"].digest
    assert {run.info.status for run in store.client.search_runs([store.experiment_id])} == {"FINISHED"}


def started(point: str, folder: Path, clock: str | None = None) -> subprocess.CompletedProcess[str]:
    """Start the stage of :mod:`tests.tracking.interrupted_stage`, with the clock set back where ``clock`` says so."""
    script = Path(__file__).with_name("interrupted_stage.py")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("needs libfaketime: apt-get install libfaketime")
    environment = os.environ | ({"LD_PRELOAD": str(library), "FAKETIME": clock} if clock else {})
    command = [sys.executable, str(script), point, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.slow
def test_a_clock_set_back_changes_nothing(store_folder: Path) -> None:
    assert started("computing", store_folder).returncode == -9
    continued = json.loads(started("never", store_folder, clock="-2d").stdout)
    store = connect("test", store_folder / "work")
    (run,) = store.client.search_runs([store.experiment_id])
    assert run.info.end_time < run.info.start_time, "the clock was set back"
    assert (run.info.run_id, run.info.status) == (continued["run_id"], "FINISHED")
    steps = [point.step for point in store.client.get_metric_history(run.info.run_id, "loss")]
    assert sorted(steps) == list(range(10))
    lines = b"".join(b"%d\n" % number for number in range(10))
    assert Path(continued["path"]).read_bytes() == lines
    again = json.loads(started("never", store_folder, clock="-3d").stdout)
    assert (again["run_id"], again["reused"], again["digest"]) == (run.info.run_id, True, continued["digest"])
