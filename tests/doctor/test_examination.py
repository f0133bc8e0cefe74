"""The doctor finds what is missing, says so in one line each, and stays silent about the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mats_sql.benchmark.survey import encoding_of, survey_split
from mats_sql.cli import commands
from mats_sql.config import Experiment, load_experiment
from mats_sql.digests import digest_file
from mats_sql.doctor.benchmark_folder import benchmark_findings
from mats_sql.doctor.checkpoints import look_at_checkpoint, weight_problems
from mats_sql.doctor.disk import disk_findings, model_bytes, text_bytes, trained_models
from mats_sql.doctor.engines import engine_findings
from mats_sql.doctor.finding import Finding, Status
from mats_sql.doctor.machine import imagined_card
from mats_sql.doctor.models import checkpoints, model_findings, shapes
from mats_sql.doctor.stages import memory_findings
from mats_sql.lab.base import base_model_path

ROOT = Path(__file__).parent.parent.parent
CARDS = {"bird-3b": 80, "bird-0.5b": 24}
"""What each config of real checkpoints says that it is for, in gigabytes."""


@pytest.fixture
def bird(tmp_path: Path) -> Path:
    """A folder in BIRD's layout: one database, one question in each split, descriptions in two encodings."""
    import sqlite3

    root = tmp_path / "bird"
    for split in ("train", "dev"):
        db_id = f"{split}_shop"
        folder = root / f"{split}_databases" / db_id / "database_description"
        folder.mkdir(parents=True)
        with sqlite3.connect(folder.parent / f"{db_id}.sqlite") as connection:
            connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, price REAL)")
        connection.close()
        (folder / "item.csv").write_bytes("original_column_name,column_name\nprice,Größe\n".encode("cp1252"))
        (folder / "other.csv").write_bytes("\ufefforiginal_column_name,column_name\nprice,price\n".encode())
        question = {"question_id": 0, "db_id": db_id, "question": "How many?", "SQL": "SELECT count(*) FROM item"}
        tables = {
            "db_id": db_id,
            "table_names_original": ["item"],
            "column_names_original": [[-1, "*"], [0, "id"], [0, "price"]],
            "column_types": ["text", "integer", "real"],
            "primary_keys": [1],
            "foreign_keys": [],
        }
        (root / f"{split}.json").write_text(json.dumps([question]))
        (root / f"{split}_tables.json").write_text(json.dumps([tables]))
    return root


def experiment(**settings: object) -> Experiment:
    return Experiment.model_validate(settings)


def of_bird(root: Path, receipt: Path | None = None) -> dict[str, Finding]:
    settings = experiment(benchmark={"kind": "bird", "root": root}).benchmark
    return {finding.check: finding for finding in benchmark_findings(settings, receipt)}


def test_a_complete_folder_is_ok_but_for_its_size(bird: Path) -> None:
    found = of_bird(bird)
    assert {check for check, item in found.items() if item.status is not Status.OK} == {
        "benchmark: train questions",
        "benchmark: dev questions",
    }
    assert found["benchmark: dev descriptions"].found == "1 in UTF-8 with a byte order mark, 1 in cp1252"


def test_a_folder_without_databases_or_questions_is_missing_something(bird: Path) -> None:
    shutil.rmtree(bird / "dev_databases")
    (bird / "train.json").unlink()
    found = of_bird(bird)
    assert found["benchmark: dev databases"].status is Status.MISSING
    assert found["benchmark: train questions"].status is Status.MISSING
    assert "BIRD-bench" in found["benchmark: train questions"].remedy


def test_a_damaged_database_is_missing_and_named(bird: Path) -> None:
    path = bird / "dev_databases" / "dev_shop" / "dev_shop.sqlite"
    path.write_bytes(path.read_bytes()[:5000])
    found = of_bird(bird)["benchmark: dev databases"]
    assert found.status is Status.MISSING
    assert "dev_shop.sqlite" in found.found


def test_an_absent_database_among_others_costs_its_questions_only(bird: Path) -> None:
    questions = json.loads((bird / "dev.json").read_text())
    questions.append({**questions[0], "question_id": 1, "db_id": "gone"})
    (bird / "dev.json").write_text(json.dumps(questions))
    found = of_bird(bird)["benchmark: dev databases"]
    assert found.status is Status.WARNING
    assert "1 questions are left out without gone" in found.found


def test_databases_are_compared_with_a_receipt(bird: Path, tmp_path: Path) -> None:
    receipt, database = tmp_path / "receipt.json", bird / "dev_databases" / "dev_shop" / "dev_shop.sqlite"
    receipt.write_text(json.dumps({"dev": {"databases": {"dev_shop": digest_file(database)}}}))
    assert of_bird(bird, receipt)["benchmark: receipt"].status is Status.OK
    receipt.write_text(json.dumps({"databases": {"dev_shop": "0" * 64}}))
    assert of_bird(bird, receipt)["benchmark: receipt"].status is Status.WARNING
    receipt.write_text("[]")
    assert of_bird(bird, receipt)["benchmark: receipt"].status is Status.MISSING


def test_a_published_question_file_is_known_however_it_is_spaced(shared: Path, tmp_path: Path) -> None:
    for name in ("dev.json", "dev_tables.json"):
        document = json.loads((shared / "data" / "bird" / name).read_text())
        (tmp_path / name).write_text(json.dumps(document, indent=7))
    assert survey_split(tmp_path, "bird", "dev").release == "BIRD-dev of 2024-06-27"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("é".encode(), "UTF-8"),
        ("é".encode("utf-8-sig"), "UTF-8 with a byte order mark"),
        ("é".encode("cp1252"), "cp1252"),
        ("é".encode("utf-16"), "UTF-16"),
    ],
)
def test_encodings_are_told_apart(data: bytes, name: str) -> None:
    assert encoding_of(data) == name


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the lab's base model, which is complete."""
    return Path(shutil.copytree(base_model_path(), tmp_path / "checkpoint"))


def test_a_complete_checkpoint_has_no_problems(checkpoint: Path) -> None:
    found = look_at_checkpoint(str(checkpoint))
    assert found.problems == ()
    assert found.shape is not None


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        ("model.safetensors", "the weights are missing"),
        ("tokenizer.json", "tokenizer.json"),
        ("chat_template.jinja", "chat template"),
        ("tokenizer_config.json", "tokenizer_config.json"),
    ],
)
def test_what_a_checkpoint_lacks_is_named(checkpoint: Path, absent: str, told: str) -> None:
    (checkpoint / absent).unlink()
    problems = look_at_checkpoint(str(checkpoint)).problems
    assert any(told in problem for problem in problems), problems


def test_torn_and_absent_shards_are_found(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    first = checkpoint / "model-00001-of-00002.safetensors"
    weights.rename(first)
    index = {"weight_map": {"a": first.name, "b": "model-00002-of-00002.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_problems(checkpoint) == ("1 of 2 shards are missing: model-00002-of-00002.safetensors",)
    second = checkpoint / "model-00002-of-00002.safetensors"
    second.write_bytes(first.read_bytes()[:-10])
    assert weight_problems(checkpoint) == (f"cut short or no safetensors: {second.name}",)
    second.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert weight_problems(checkpoint) == (f"cut short or no safetensors: {second.name}",)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_config_of_real_checkpoints_fits_its_card_by_the_published_shapes(name: str) -> None:
    loaded = load_experiment(ROOT / "configs" / f"{name}.yaml")
    found = checkpoints(loaded)
    known = shapes(found)
    assert len(known) == 4
    contexts = [item for item in model_findings(loaded, found) if item.check.startswith("context")]
    memory = list(memory_findings(loaded, known, imagined_card(CARDS[name])))
    assert len(contexts) == 5
    assert len(memory) == 9
    assert [item for item in (*contexts, *memory) if item.status is not Status.OK] == []


def test_a_stage_that_does_not_fit_comes_with_settings_that_do() -> None:
    path = ROOT / "configs" / "bird-0.5b.yaml"
    card = imagined_card(8)
    known = shapes(checkpoints(load_experiment(path)))
    (found,) = (
        item for item in memory_findings(load_experiment(path), known, card) if item.check == "memory: sft planner"
    )
    assert found.status is Status.WARNING
    mended = load_experiment(path, found.remedy.removeprefix("set ").split())
    (again,) = (item for item in memory_findings(mended, known, card) if item.check == "memory: sft planner")
    assert again.status is Status.OK
    assert mended.sft.planner.batch_size * mended.sft.planner.gradient_accumulation == 32


def test_a_prompt_longer_than_the_context_is_told() -> None:
    path = ROOT / "configs" / "bird-0.5b.yaml"
    loaded = load_experiment(path, ["generation.max_prompt_tokens=40000"])
    found = {item.check: item for item in model_findings(loaded, checkpoints(loaded))}
    assert found["context: planner"].status is Status.WARNING
    assert found["context: planner"].remedy.startswith("set generation.max_prompt_tokens=31744")


@pytest.mark.parametrize("limit", ["null", "60000"])
def test_a_schema_that_may_leave_no_room_in_a_prompt_is_told_with_a_limit_that_does(limit: str) -> None:
    path = ROOT / "configs" / "bird-0.5b.yaml"
    loaded = load_experiment(path, [f"benchmark.schema_characters={limit}"])
    [found] = [item for item in model_findings(loaded, checkpoints(loaded)) if item.check == "context: schemas"]
    assert found.status is Status.WARNING
    mended = load_experiment(path, found.remedy.removeprefix("set ").split())
    [again] = [item for item in model_findings(mended, checkpoints(mended)) if item.check == "context: schemas"]
    assert again.status is Status.OK


def test_trained_models_are_counted() -> None:
    counts = trained_models(load_experiment(ROOT / "configs" / "quickstart.yaml"))
    assert sum(counts.supervised.values()) == 5
    assert sum(counts.preferred.values()) == 8  # as the config itself says
    assert counts.teams == 3 + 4


def test_disk_is_compared_with_what_is_free(tmp_path: Path) -> None:
    huge = experiment(seeds=list(range(400_000)), controls=False, work_dir=tmp_path)
    known = shapes(checkpoints(huge))
    assert [item.status for item in disk_findings(huge, known, tmp_path, 100)] == [Status.MISSING, Status.OK]
    small = experiment(work_dir=tmp_path)
    assert [item.status for item in disk_findings(small, known, tmp_path, 100)] == [Status.OK, Status.OK]


def test_a_models_bytes_are_those_of_its_file() -> None:
    found = look_at_checkpoint("lab")
    assert found.shape is not None
    size = (base_model_path() / "model.safetensors").stat().st_size
    assert 0 <= size - model_bytes(found.shape, experiment().orpo) < 10_000  # the header


def test_texts_are_counted_at_full_length() -> None:
    loaded = experiment(
        rollout={"questions": 10, "plans": 5, "critiques": 4, "fixes": 2},
        generation={"plan_tokens": 5, "critique_tokens": 7, "fix_tokens": 11},
    )
    assert text_bytes(loaded, 100) == 2 * 4 * (100 * 5 * 5 + 10 * 5 * 2 * 4 * (7 + 2 * 11))


def test_a_server_that_does_not_answer_is_missing() -> None:
    loaded = experiment(
        generation={"engine": "openai", "base_url": "http://127.0.0.1:9/v1"},
        teacher={"kind": "large_model", "model": "teacher", "base_url": "http://127.0.0.1:9/v1"},
    )
    found = {item.check: item.status for item in engine_findings(loaded)}
    assert found["engine: openai"] is Status.MISSING
    assert found["teacher: large model"] is Status.MISSING


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run commands in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["doctor", *arguments], catch_exceptions=False)


def test_the_quickstart_lacks_nothing_and_nothing_is_written(place: Path) -> None:
    done = doctor("--config", str(ROOT / "configs" / "quickstart.yaml"))
    assert done.exit_code == 0, done.output
    assert " 0 missing" in done.output
    assert list(place.iterdir()) == []


def test_a_config_whose_files_are_absent_ends_with_code_2(place: Path) -> None:
    done = doctor("--config", str(ROOT / "configs" / "bird-3b.yaml"), "--gigabytes", "80")
    assert done.exit_code == 2
    assert "hf download Qwen/Qwen2.5-Coder-3B-Instruct" in " ".join(done.output.split())
    assert list(place.iterdir()) == []
