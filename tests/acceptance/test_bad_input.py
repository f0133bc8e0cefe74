"""Bad input gets one line (rule, value, remedy) and exit code 2; nothing is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from mats_sql.config import LabSettings
from mats_sql.lab.generator import write_lab
from tests.acceptance.conftest import EXPERIMENT, Place, new_place

STAGES = ("main", "prepare", "pretrain", "sft", "rollout", "pairs", "orpo", "evaluate", "diagnose", "search", "compare")


@pytest.fixture
def place(tmp_path: Path, empty_database: Path) -> Place:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return new_place(tmp_path)


@pytest.fixture(scope="session")
def small_benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("benchmark")
    write_lab(root, LabSettings(train_databases=2, train_questions=10, dev_databases=2, dev_questions=12))
    return root


@pytest.fixture
def benchmark(small_benchmark: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_benchmark, tmp_path / "benchmark")


def assert_refused(place: Place, entry_point: str, *arguments: str, saying: str) -> None:
    assert_one_line(place.call(entry_point, *arguments), saying)


def assert_one_line(done: subprocess.CompletedProcess[str], saying: str) -> None:
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert saying in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("entry_point", STAGES)
def test_a_missing_config_is_named(place: Place, entry_point: str) -> None:
    place.config.unlink()
    assert_one_line(place.run(entry_point), saying="experiment.yaml")


@pytest.mark.parametrize(
    ("override", "saying"),
    [
        ("orpo.betta=1", "orpo.betta"),
        ("orpo.beta=much", "orpo.beta"),
        ("policy.k=0", "policy.k"),
        ("policy.gate=never", "policy.gate"),
        ("seeds_vary=sft", "seeds_vary"),
        ("teams.mine.validators=colab", "teams.mine.validators"),
        ("orpo", "key=value"),
        ("seed.x=1", "seed"),
        ("benchmark.kind=bird", "benchmark"),
    ],
)
def test_a_bad_setting_is_named_with_its_value(place: Place, override: str, saying: str) -> None:
    assert_refused(place, "prepare", "--set", override, saying=saying)


def test_an_unreachable_tracking_server_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "tracking_uri", "http://127.0.0.1:9")
    assert_refused(place, "prepare", saying="127.0.0.1:9")


def test_one_of_several_processes_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert_refused(place, "sft", saying="1 process, but WORLD_SIZE is 2; start it without a launcher")


def test_a_missing_model_is_named(place: Place) -> None:
    assert_refused(place, "sft", "--set", "models.planner=nowhere", saying="nowhere")


@pytest.mark.parametrize("entry_point", ["pairs", "orpo"])
def test_a_regime_for_an_agent_without_one_is_named(place: Place, entry_point: str) -> None:
    assert_refused(place, entry_point, "--agent", "planner", "--regime", "collab", saying="'collab'")


def test_an_unknown_team_is_named(place: Place) -> None:
    assert_refused(place, "evaluate", "--team", "nobody", saying="collab-no-fixer, all, but got 'nobody'")


def test_an_unknown_run_is_named(place: Place) -> None:
    assert_refused(place, "promote", "--run-id", "no-such-run", saying="no-such-run")
    assert_refused(place, "compare", "--baseline", "no-such-run", saying="no-such-run")


def as_bird(place: Place, benchmark: Path) -> None:
    place.write({**EXPERIMENT, "benchmark": {"kind": "bird", "root": str(benchmark), "validation_questions": 2}})


def test_a_benchmark_that_is_whole_is_prepared(place: Place, benchmark: Path) -> None:
    as_bird(place, benchmark)
    done = place.call("prepare")
    assert done.returncode == 0, done.stderr
    assert "dev: 12 of 12 questions" in done.stderr


def test_a_missing_benchmark_is_named(place: Place, tmp_path: Path) -> None:
    as_bird(place, tmp_path / "nowhere")
    assert_refused(place, "prepare", saying="nowhere")


def test_a_corrupt_database_is_named(place: Place, benchmark: Path) -> None:
    database = next(benchmark.rglob("dev_databases/*/*.sqlite"))
    database.write_bytes(b"not a database" * 100)
    as_bird(place, benchmark)
    assert_refused(place, "prepare", saying=database.name)


def test_a_question_without_a_database_is_named(place: Place, benchmark: Path) -> None:
    path = benchmark / "dev.json"
    questions = json.loads(path.read_text())
    questions[3]["db_id"] = "nowhere"
    path.write_text(json.dumps(questions))
    as_bird(place, benchmark)
    assert_refused(place, "prepare", saying="nowhere")


def test_a_database_without_a_question_is_named(place: Place, benchmark: Path) -> None:
    folder = benchmark / "dev_databases" / "unasked"
    folder.mkdir()
    sqlite3.connect(folder / "unasked.sqlite").execute("CREATE TABLE t (x)")
    as_bird(place, benchmark)
    assert_refused(place, "prepare", saying="unasked")


def test_train_and_dev_sharing_a_database_is_a_leak(place: Place, benchmark: Path) -> None:
    shutil.copytree(benchmark / "dev_databases", benchmark / "train_databases", dirs_exist_ok=True)
    for name in ("train.json", "train_tables.json"):
        shutil.copy(benchmark / name.replace("train", "dev"), benchmark / name)
    shutil.rmtree(benchmark / "train_databases")
    shutil.copytree(benchmark / "dev_databases", benchmark / "train_databases")
    as_bird(place, benchmark)
    assert_refused(place, "prepare", saying="share")
