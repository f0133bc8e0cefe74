"""The checkpoints that training starts from, by name: the lab's, a folder, or what the Hugging Face cache holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest

from mats_sql.agents.messages import user
from mats_sql.config import GenerationSettings
from mats_sql.doctor.checkpoints import look_at_checkpoint
from mats_sql.errors import ModelError
from mats_sql.generation.engine import Completion, Request, Sampling
from mats_sql.generation.open import open_engine
from mats_sql.lab.base import base_model_path
from mats_sql.pipeline.base_models import base_folder
from tests.acceptance.conftest import EXPERIMENT, Place

NAME = "some-lab/Small-Coder.1"
REVISION = "0123456789abcdef0123456789abcdef01234567"


SMALL = {
    "lab": {"train_databases": 2, "train_questions": 10, "dev_databases": 2, "dev_questions": 12},
    "sft": {"planner": {"batch_size": 8, "max_examples": 8}},
}


@pytest.fixture
def place(tmp_path: Path, empty_database: Path) -> Place:
    (tmp_path / "place").mkdir()
    shutil.copyfile(empty_database, tmp_path / "place" / "mlflow.db")
    return Place(tmp_path / "place")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub: the library reads its variable once, when it is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def snapshot(cache: Path) -> Path:
    """The lab's base model in the cache, as a download leaves it: blobs, and a snapshot of links to them."""
    repository = cache / "models--some-lab--Small-Coder.1"
    made = repository / "snapshots" / REVISION
    for folder in (made, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    for number, file in enumerate(sorted(base_model_path().iterdir())):
        shutil.copyfile(file, repository / "blobs" / f"{number:040x}")
        (made / file.name).symlink_to(Path("..", "..", "blobs", f"{number:040x}"))
    return made


def drawn(checkpoint: Path) -> list[tuple[Completion, ...]]:
    engine = open_engine(GenerationSettings(device="cpu"), checkpoint)
    answers = engine.generate([Request("q", user("which schools"))], Sampling(temperature=0, max_new_tokens=8))
    engine.close()
    return answers


def test_a_name_whose_snapshot_is_in_the_cache_is_that_folder_and_draws_as_the_checkpoint_does(snapshot: Path) -> None:
    assert base_folder(NAME) == snapshot
    assert drawn(base_folder(NAME)) == drawn(base_model_path())


def test_a_whole_snapshot_has_no_problems_for_the_doctor(snapshot: Path) -> None:
    assert look_at_checkpoint(NAME).folder == snapshot
    assert look_at_checkpoint(NAME).problems == ()


def test_the_doctor_names_what_half_a_download_lacks(snapshot: Path) -> None:
    (snapshot / "model.safetensors").unlink()
    [problem] = look_at_checkpoint(NAME).problems
    assert problem.startswith("the weights are missing")


@pytest.mark.parametrize("name", [NAME, "Small-Coder", "no name: at all"])
def test_a_name_that_is_neither_a_folder_nor_in_the_cache_is_one_line(cache: Path, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        base_folder(name)
    assert str(caught.value) == (
        "a model must be a folder with a config.json, or a hub name that this machine's cache holds, but got "
        f"{name!r}; download it first (hf download OWNER/NAME)"
    )
    assert not cache.exists(), "nothing is asked for and nothing written"


def planner_trained(place: Place, base: str) -> subprocess.CompletedProcess[str]:
    """Train a planner on a base by the command; where that was done, it is reused."""
    place.write({**EXPERIMENT, **SMALL, "models": {"planner": base}})
    return place.call("sft", "--agent", "planner")


@pytest.mark.usefixtures("snapshot")
def test_a_command_trains_the_snapshot_and_knows_it_for_the_checkpoint_that_it_is(place: Place) -> None:
    done = planner_trained(place, NAME)
    assert done.returncode == 0, done.stderr
    assert "= sft planner" not in done.stderr
    assert "= sft planner" in planner_trained(place, "lab").stderr


@pytest.mark.usefixtures("cache")
def test_a_command_with_a_name_that_is_not_in_the_cache_is_one_line_and_does_no_work(place: Place) -> None:
    done = planner_trained(place, "some-lab/Absent")
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "but got 'some-lab/Absent'; download it first (hf download OWNER/NAME)" in line
    assert "Traceback" not in done.stderr
    assert not list((place.folder / "work").rglob("*.parquet"))


def test_the_cache_is_where_the_hubs_own_variable_says(snapshot: Path) -> None:
    environment = os.environ | {"HF_HUB_CACHE": str(snapshot.parents[2]), "HF_HUB_OFFLINE": "1"}
    code = f"from mats_sql.pipeline import base_folder; print(base_folder({NAME!r}))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(snapshot)
