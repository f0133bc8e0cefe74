"""What is released is what others read: BIRD's submission, TRL's preference format, a transformers folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from click.testing import CliRunner
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from mats_sql.agents import Verdict, user
from mats_sql.cli import commands
from mats_sql.errors import ConfigError, StageInputError, TrackingError
from mats_sql.evaluation import JudgedCandidate
from mats_sql.lab.base import base_model_path
from mats_sql.layers import base_of, begin_layer, load_weights
from mats_sql.parquet import write_records
from mats_sql.pipeline import QuestionRow
from mats_sql.preference import PreferencePair
from mats_sql.release import ReleaseRequest, release
from mats_sql.sql import Outcome, VerdictClass
from mats_sql.sql.candidates import read_candidates
from mats_sql.tracking import Artifact, ArtifactKind, Stage, StageKey, StageResult, StageRun, Store, register, run_stage
from mats_sql.training.lora import write_adapter

ROW = QuestionRow("dev", 0, "shop", "simple", "How many items?", "", usable=True, reason="", in_validation=False)
ROWS = [
    replace(ROW, question_id=7),
    replace(ROW, question_id=8, db_id="gone", usable=False, reason="database missing"),
    replace(ROW, question_id=9, db_id="zoo"),
    replace(ROW, question_id=1, split="train"),
]
CANDIDATE = JudgedCandidate(
    question_id=7,
    db_id="shop",
    difficulty="simple",
    sample_index=0,
    origin="plan",
    sql="SELECT count(*) FROM item",
    outcome=Outcome.ROWS,
    result_digest="a",
    verdict=VerdictClass.CORRECT,
    gate_open=False,
    in_pool=True,
    selected=True,
    select_verdict=Verdict.CORRECT,
    condition_verdict=Verdict.CORRECT,
    selector_score=0.5,
    group_size=1,
)
CANDIDATES = [
    CANDIDATE,
    replace(CANDIDATE, question_id=9, db_id="zoo", sql="SELECT 'é'", verdict=VerdictClass.WRONG),
]
PROMPT = user("Is this right?")
PAIR = PreferencePair("p1", "select-validator", "collab", 7, PROMPT, PROMPT, "Conclude: correct.", "Hm.", "a", "b")


def made(
    store: Store,
    stage: str,
    write: Callable[[StageRun], None],
    inputs: Mapping[str, Artifact] | None = None,
    **settings: object,
) -> StageResult:
    return run_stage(store, Stage(StageKey(stage, 1), stage, settings, inputs or {}), write)


def questions(store: Store) -> Artifact:
    def write(run: StageRun) -> None:
        write_records(ROWS, QuestionRow, run.work / "questions.parquet")
        run.output("questions", ArtifactKind.DATASET, run.work / "questions.parquet")

    return made(store, "prepare", write).outputs["questions"]


LAB = Artifact("base", ArtifactKind.MODEL, base_model_path(), "0" * 64, run_id="", metadata={"base": "lab"})
CODER = replace(LAB, digest="1" * 64, metadata={"base": "checkpoints/Qwen2.5-Coder-3B-Instruct"})


def agent(store: Store, agent: str = "planner", *, lora: bool = False, base: Artifact = LAB) -> Artifact:
    """Return a trained agent as a stage leaves it: what it began with, with an adapter more if asked for."""

    def write(run: StageRun) -> None:
        folder = run.work / "model"
        if lora:
            folder.mkdir()
            below = AutoModelForCausalLM.from_pretrained(base_of(base.path))
            adapted = get_peft_model(
                below, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
            )
            write_adapter(adapted, begin_layer(folder, base.path), torch.bfloat16)
        else:
            shutil.copytree(base.path, folder)
        run.output("model", ArtifactKind.MODEL, folder, {"agent": agent, "regime": "collab"})
        run.log_metrics({"train_loss": 0.25})

    settings = {"agent": agent, "orpo": {"beta": 0.25, "epochs": 1.0}, "lora": lora}
    return made(store, "orpo", write, {"base": base, "questions": questions(store)}, **settings).outputs["model"]


def evaluation(store: Store, model: Artifact, candidates: list[JudgedCandidate]) -> StageResult:
    def team(run: StageRun) -> None:
        shutil.copytree(model.path, run.work / "team" / "planner")
        run.output("team", ArtifactKind.TEAM, run.work / "team", {"team": "ORPO COLLAB"})

    def write(run: StageRun) -> None:
        write_records(candidates, JudgedCandidate, run.work / "candidates.parquet")
        run.output("candidates", ArtifactKind.DATASET, run.work / "candidates.parquet")

    built = made(store, "assemble", team, {"planner": model}).outputs["team"]
    return made(store, "evaluate", write, {"questions": questions(store), "team": built}, n=len(candidates))


def test_a_submission_has_an_entry_per_dev_question_in_the_files_order(store: Store, tmp_path: Path) -> None:
    result = evaluation(store, agent(store), CANDIDATES)
    told = release(store, ReleaseRequest(result.run_id, tmp_path / "out"))
    document = json.loads((tmp_path / "out" / "predict_dev.json").read_text(encoding="utf-8"))
    assert list(document.items()) == [
        ("0", "SELECT count(*) FROM item\t----- bird -----\tshop"),
        ("1", "\t----- bird -----\tgone"),
        ("2", "SELECT 'é'\t----- bird -----\tzoo"),
    ]
    assert "2 of 3 questions" in told[0]
    read = list(read_candidates(tmp_path / "out" / "predict_dev.json"))  # `judge` reads what is released
    assert [item.sqls["prediction"] or "" for item in read] == ["SELECT count(*) FROM item", "", "SELECT 'é'"]


def test_a_submission_of_a_part_is_refused_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    result = evaluation(store, agent(store), CANDIDATES[:1])
    with pytest.raises(StageInputError, match="1 of 3 were not asked"):
        release(store, ReleaseRequest(result.run_id, tmp_path / "out"))
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def pairs(store: Store, *built: PreferencePair) -> str:
    def write(run: StageRun) -> None:
        write_records(built, PreferencePair, run.work / "select.parquet")
        run.output("select", ArtifactKind.DATASET, run.work / "select.parquet")

    return made(store, "pairs", write, count=[pair.pair_id for pair in built]).run_id


def test_pairs_are_written_as_trl_reads_them(store: Store, tmp_path: Path) -> None:
    joint = replace(PAIR, pair_id="p2", rejected_prompt=user("Is that right?"))
    told = release(store, ReleaseRequest(pairs(store, PAIR, joint), tmp_path / "out"))
    (line,) = (tmp_path / "out" / "select.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["prompt"] == [{"role": "user", "content": "Is this right?"}]
    assert row["chosen"] == [{"role": "assistant", "content": "Conclude: correct."}]
    assert row["rejected"] == [{"role": "assistant", "content": "Hm."}]
    assert pq.read_table(tmp_path / "out" / "select.parquet").to_pylist() == [row]
    assert "1 pairs, 1 with a prompt per answer left out" in told[0]


def test_trl_recognises_the_pairs_as_conversational_preferences(store: Store, tmp_path: Path) -> None:
    from datasets import load_dataset
    from trl import is_conversational

    release(store, ReleaseRequest(pairs(store, PAIR), tmp_path / "out"))
    for kind, suffix in (("json", "jsonl"), ("parquet", "parquet")):
        file = str(tmp_path / "out" / f"select.{suffix}")
        loaded = load_dataset(kind, data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
        assert is_conversational(loaded[0])
        assert {"prompt", "chosen", "rejected"} <= set(loaded.column_names)


def test_pairs_of_two_prompts_each_are_refused(store: Store, tmp_path: Path) -> None:
    joint = replace(PAIR, rejected_prompt=user("Is that right?"))
    with pytest.raises(StageInputError, match=r"pairs\.fixer=same"):
        release(store, ReleaseRequest(pairs(store, joint), tmp_path / "out"))


def front_matter(folder: Path) -> tuple[dict[str, object], str]:
    _, front, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def test_an_agent_is_released_as_its_checkpoint_with_a_card(store: Store, tmp_path: Path) -> None:
    model = agent(store)
    version = register(store, model, "lab.planner", {})
    result = evaluation(store, model, CANDIDATES)
    release(store, ReleaseRequest(version.uri, tmp_path / "out", evaluation=result.run_id))
    weights = (base_model_path() / "model.safetensors").read_bytes()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights
    front, body = front_matter(tmp_path / "out")
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "transformers"
    assert front["tags"] == ["text2sql", "mats-sql", "planner", "orpo", "collab"]
    assert "base_model" not in front  # the lab's base is not on the hub
    assert "| selector EX | 50.00 [9.45, 90.55] |" in body  # Wilson's interval of 1 of 2
    assert "| orpo.beta | 0.25 |" in body
    assert "| train_loss | 0.25 |" in body
    assert model.run_id in body
    assert "lab.planner/1 [model" in body


def test_an_adapter_is_released_alone_and_names_its_base(store: Store, tmp_path: Path) -> None:
    model = agent(store, lora=True)
    release(store, ReleaseRequest(model.run_id, tmp_path / "merged", license="mit"))
    whole = {path.name for path in base_model_path().iterdir() if path.is_file() and not path.name.startswith(".")}
    assert {path.name for path in (tmp_path / "merged").iterdir()} == whole | {"README.md"}
    merged, base = (AutoModelForCausalLM.from_pretrained(path) for path in (tmp_path / "merged", base_model_path()))
    assert (merged.dtype, merged.num_parameters()) == (base.dtype, base.num_parameters())
    assert front_matter(tmp_path / "merged")[0]["license"] == "mit"
    release(store, ReleaseRequest(model.run_id, tmp_path / "adapter", adapter=True))
    files = sorted(path.name for path in (tmp_path / "adapter").iterdir())
    assert files == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (8, "lab")
    assert front_matter(tmp_path / "adapter")[0]["library_name"] == "peft"


def test_a_card_names_the_published_base_and_its_licence_through_all_trainings(store: Store, tmp_path: Path) -> None:
    first = agent(store, lora=True, base=CODER)
    second = agent(store, lora=True, base=first)
    release(store, ReleaseRequest(first.run_id, tmp_path / "first", adapter=True))
    release(store, ReleaseRequest(second.run_id, tmp_path / "second", adapter=True))
    for folder in ("first", "second"):
        front, _ = front_matter(tmp_path / folder)
        assert front["base_model"] == "Qwen/Qwen2.5-Coder-3B-Instruct"
        assert (front["license"], front["license_name"]) == ("other", "qwen-research")
    configs = [json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("first", "second")]
    assert [config["base_model_name_or_path"] for config in configs] == ["Qwen/Qwen2.5-Coder-3B-Instruct"] * 2
    assert [config["r"] for config in configs] == [8, 16]


def test_an_adapter_of_two_trainings_gives_on_the_base_what_both_gave(store: Store, tmp_path: Path) -> None:
    second = agent(store, lora=True, base=agent(store, lora=True))
    release(store, ReleaseRequest(second.run_id, tmp_path / "adapter", adapter=True))
    base = AutoModelForCausalLM.from_pretrained(base_model_path(), dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload().state_dict()
    layered = load_weights(second.path, torch.float32).state_dict()
    half = AutoModelForCausalLM.from_pretrained(base_model_path()).dtype
    torch.testing.assert_close({name: weights.to(half).float() for name, weights in loaded.items()}, layered)


def test_an_adapter_on_full_weights_of_one_s_own_names_the_agent_that_has_them(store: Store, tmp_path: Path) -> None:
    first = agent(store)
    release(store, ReleaseRequest(agent(store, lora=True, base=first).run_id, tmp_path / "adapter", adapter=True))
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"the released agent of run {first.run_id}"


def test_a_card_takes_scores_only_of_a_team_with_the_agent(store: Store, tmp_path: Path) -> None:
    result = evaluation(store, agent(store, lora=True), CANDIDATES)
    with pytest.raises(StageInputError, match="team with this agent"):
        release(store, ReleaseRequest(agent(store).run_id, tmp_path / "out", evaluation=result.run_id))


def test_what_cannot_be_released_is_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    model = agent(store)
    with pytest.raises(ConfigError, match="--out must be"):
        release(store, ReleaseRequest(model.run_id, tmp_path / "full"))
    with pytest.raises(StageInputError, match="--adapter needs a LoRA training"):
        release(store, ReleaseRequest(model.run_id, tmp_path / "out", adapter=True))
    with pytest.raises(StageInputError, match=r"holds questions \(dataset\)"):
        release(store, ReleaseRequest(questions(store).run_id, tmp_path / "out"))
    with pytest.raises(TrackingError):
        release(store, ReleaseRequest("0" * 32, tmp_path / "out"))


def test_the_command_releases_and_says_what_it_wrote(store: Store, tmp_path: Path) -> None:
    config = tmp_path / "experiment.yaml"
    config.write_text(f"name: test\nwork_dir: {store.work_dir}\n")
    address, out = agent(store).run_id, tmp_path / "out"
    for code in (0, 2):  # the second time the folder holds something
        done = CliRunner().invoke(commands, ["release", address, "--out", str(out), "--config", str(config)])
        assert done.exit_code == code, done.output
    assert (out / "README.md").is_file()
