"""A tracking server keeps a base once, and whoever reads a model on it has the base beside the adapters."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from mats_sql.digests import digest_tree
from mats_sql.errors import ModelError
from mats_sql.generation.checkpoint import context_length
from mats_sql.lab.base import base_model_path
from mats_sql.layers import load_weights
from mats_sql.release import ReleaseRequest, release
from mats_sql.tracking import register
from mats_sql.tracking.agent_model import AgentModel
from mats_sql.tracking.artifact import ArtifactKind
from mats_sql.tracking.bases import KeptBase, bases_of, put_bases_back, write_without_bases
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import connect
from tests.layered import on_top

AGENTS = ("planner", "fixer")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two agents on the lab's base, the second with an adapter on the first's."""
    folder = tmp_path_factory.mktemp("layers")
    first = on_top(base_model_path(), folder / "planner", 1)
    return {"planner": first, "fixer": on_top(first, folder / "fixer", 2)}


@pytest.fixture
def team(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A folder that holds both, as a team's does."""
    for agent, checkpoint in checkpoints.items():
        shutil.copytree(checkpoint, tmp_path / "team" / agent)
    return tmp_path / "team"


def test_a_folder_without_its_bases_is_itself_again_with_them(team: Path, tmp_path: Path) -> None:
    kept: list[Path] = []

    def keep(base: Path) -> KeptBase:
        kept.append(base)
        return KeptBase(digest_tree(base), str(base))

    write_without_bases(team, tmp_path / "thin", keep)
    assert sorted(kept) == bases_of(team) == [team / agent / "base" for agent in sorted(AGENTS)]
    assert not list((tmp_path / "thin").rglob("model.safetensors"))
    with pytest.raises(ModelError, match=r"names it in base\.json"):
        context_length(tmp_path / "thin" / "planner")
    put_bases_back(tmp_path / "thin", lambda base: Path(base.uri))
    assert digest_tree(tmp_path / "thin") == digest_tree(team)


def test_a_server_keeps_one_base_for_agents_and_team_and_gives_each_back_whole(
    artifact_server: str,
    checkpoints: dict[str, Path],
    team: Path,
    store_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", artifact_server)
    store = connect("remote", store_folder / "work")

    def compute(run: StageRun) -> None:
        for agent, checkpoint in checkpoints.items():
            shutil.copytree(checkpoint, run.work / agent)
            run.output(agent, ArtifactKind.MODEL, run.work / agent, {"agent": agent})
        run.output("team", ArtifactKind.TEAM, team)

    stage = Stage(StageKey("sft", 1), "sft")
    first = run_stage(store, stage, compute).outputs
    assert len(list((store_folder / "kept").rglob("model.safetensors"))) == 1
    shutil.rmtree(store_folder / "work")
    again = run_stage(connect("remote", store_folder / "work"), stage, compute)
    assert again.reused
    assert {name: digest_tree(output.path) for name, output in again.outputs.items()} == {
        name: output.digest for name, output in first.items()
    }
    questions = pd.DataFrame({"prompt": ["How many items cost 3?"]})
    loaded = mlflow.pyfunc.load_model(f"models:/{first['fixer'].model_id}")
    assert list(loaded.predict(questions)["text"]) == list(AgentModel(checkpoints["fixer"]).predict(questions)["text"])


def test_an_agent_is_released_from_a_server_whole_or_as_its_adapters(
    artifact_server: str,
    checkpoints: dict[str, Path],
    store_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", artifact_server)
    store = connect("remote", store_folder / "work")

    def compute(run: StageRun) -> None:
        shutil.copytree(checkpoints["fixer"], run.work / "fixer")
        run.output("fixer", ArtifactKind.MODEL, run.work / "fixer", {"agent": "fixer"})

    fixer = run_stage(store, Stage(StageKey("sft", 1), "sft"), compute).outputs["fixer"]
    address = register(store, fixer, "remote.fixer", {}).uri
    shutil.rmtree(store_folder / "work")
    elsewhere = connect("remote", tmp_path / "elsewhere")
    layered = load_weights(checkpoints["fixer"], torch.float32).state_dict()
    release(elsewhere, ReleaseRequest(address, tmp_path / "merged"))
    release(elsewhere, ReleaseRequest(address, tmp_path / "adapter", adapter=True))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(merged.float().state_dict(), layered)
    base = AutoModelForCausalLM.from_pretrained(base_model_path(), dtype=torch.float32)
    joined = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload().to(merged.dtype)
    torch.testing.assert_close(joined.float().state_dict(), layered)


def test_a_model_whose_base_is_gone_from_the_server_says_which_and_the_next_one_brings_its_own(
    artifact_server: str, checkpoints: dict[str, Path], store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", artifact_server)
    store = connect("remote", store_folder / "work")

    def compute(run: StageRun) -> None:
        shutil.copytree(checkpoints["fixer"], run.work / "fixer")
        run.output("fixer", ArtifactKind.MODEL, run.work / "fixer", {"agent": "fixer"})

    fixer = run_stage(store, Stage(StageKey("sft", 1), "sft"), compute).outputs["fixer"]
    [weights] = (store_folder / "kept").rglob("model.safetensors")
    shutil.rmtree(weights.parent)
    with pytest.raises(ModelError, match="the base of this model's adapters must be at mlflow-artifacts:"):
        mlflow.pyfunc.load_model(f"models:/{fixer.model_id}")
    run_stage(store, Stage(StageKey("sft", 2), "sft"), compute)
    assert len(list((store_folder / "kept").rglob("model.safetensors"))) == 1
