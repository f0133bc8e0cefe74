"""Stages against a real SQLite store: what is reused, what is computed again, what a kill leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mats_sql.digests import digest_file
from mats_sql.errors import (
    ConfigError,
    MatsError,
    PromotionRefused,
    StageInputError,
    StageStopped,
    TrackingError,
    TrainingError,
)
from mats_sql.tracking import names
from mats_sql.tracking.artifact import Artifact, ArtifactKind
from mats_sql.tracking.machine_load import system_metrics
from mats_sql.tracking.model_metrics import measure_model
from mats_sql.tracking.stage import Stage, StageKey, load_result, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import Store, connect
from tests.tracking.interrupted_stage import main as start_here

ROLLOUT = Stage(StageKey("rollout", 1), "rollout", {"k": 4})
SCRIPT = Path(__file__).parent / "interrupted_stage.py"


def write_pool(rows: int = 3) -> Callable[[StageRun], None]:
    def compute(run: StageRun) -> None:
        path = run.work / "pool.parquet"
        pd.DataFrame({"question_id": range(rows), "sql": ["SELECT 1"] * rows}).to_parquet(path)
        run.log_metrics({"rows": rows})
        run.output("pool", ArtifactKind.DATASET, path, {"split": "train"})

    return compute


def write_model(run: StageRun) -> None:
    folder = run.work / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    run.output("model", ArtifactKind.MODEL, folder, {"agent": "fixer"})


def nothing(_: StageRun) -> None:
    """Compute nothing and declare no output."""


def must_not_compute(run: StageRun) -> None:
    pytest.fail(f"run {run.run_id} computed what was already there")


def description(store: Store, run_id: str) -> str:
    return store.run(run_id).data.tags[names.NOTE]


def all_runs(store: Store) -> list[str]:
    return [run.info.run_id for run in store.client.search_runs([store.experiment_id])]


def test_a_finished_stage_is_reused_with_its_outputs_and_metrics(store: Store) -> None:
    first = run_stage(store, ROLLOUT, write_pool())
    again = run_stage(store, ROLLOUT, must_not_compute)
    assert again.reused
    assert not first.reused
    assert (again.run_id, again.outputs) == (first.run_id, first.outputs)
    assert again.metrics == first.metrics
    assert again.metrics["rows"] == 3
    assert pd.read_parquet(again.outputs["pool"].path).shape == (3, 2)


@pytest.mark.parametrize(
    "other",
    [
        Stage(StageKey("rollout", 2), "rollout", {"k": 4}),
        Stage(StageKey("rollout", 1), "rollout", {"k": 8}),
        Stage(StageKey("plans", 1), "rollout", {"k": 4}),
        Stage(
            StageKey("rollout", 1),
            "rollout",
            {"k": 4},
            {"base": Artifact("base", ArtifactKind.MODEL, Path(), "d1", "")},
        ),
    ],
    ids=["version", "setting", "name", "input"],
)
def test_whatever_decides_the_outputs_is_in_the_fingerprint(other: Stage) -> None:
    assert other.fingerprint != ROLLOUT.fingerprint


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5), st.randoms())
def test_the_order_of_settings_is_not_in_the_fingerprint(settings: dict[str, object], random: object) -> None:
    items = list(settings.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    key = StageKey("rollout", 1)
    assert Stage(key, "a", dict(items)).fingerprint == Stage(key, "b", settings).fingerprint


def test_a_stage_under_a_new_parent_is_reused_and_named_on_the_parent(store: Store) -> None:
    first = run_stage(store, ROLLOUT, write_pool())

    def launch(run: StageRun) -> None:
        run_stage(store, ROLLOUT, must_not_compute, parent=run.run_id)

    main = run_stage(store, Stage(StageKey("main", 1), "main", reusable=False), launch)
    assert f"[rollout](#/experiments/{store.experiment_id}/runs/{first.run_id})" in description(store, main.run_id)


def test_a_child_is_nested_under_its_parent(store: Store) -> None:
    children: list[str] = []

    def launch(run: StageRun) -> None:
        children.append(run_stage(store, ROLLOUT, write_pool(), parent=run.run_id).run_id)

    main = run_stage(store, Stage(StageKey("main", 1), "main", reusable=False), launch)
    assert store.run(children[0]).data.tags["mlflow.parentRunId"] == main.run_id


def test_a_stage_that_only_calls_others_runs_every_time(store: Store) -> None:
    main = Stage(StageKey("main", 1), "main", reusable=False)
    assert run_stage(store, main, write_pool()).run_id != run_stage(store, main, write_pool()).run_id


@pytest.mark.parametrize("compute", [write_pool(), write_model], ids=["dataset", "model"])
@pytest.mark.parametrize("harm", ["changed", "deleted"])
def test_damaged_outputs_are_computed_again(store: Store, compute: Callable[[StageRun], None], harm: str) -> None:
    first = run_stage(store, ROLLOUT, compute)
    (artifact,) = first.outputs.values()
    victim = artifact.path if artifact.path.is_file() else artifact.path / "config.json"
    if harm == "changed":
        victim.write_bytes(b"damaged")
    else:
        victim.unlink()
    again = run_stage(store, ROLLOUT, compute)
    assert not again.reused
    assert again.run_id != first.run_id
    assert again.outputs[artifact.name].digest == artifact.digest
    assert names.DAMAGED in store.run(first.run_id).data.tags
    assert run_stage(store, ROLLOUT, must_not_compute).run_id == again.run_id


def test_an_error_passes_on_and_leaves_a_failed_run_that_says_why(store: Store) -> None:
    def fail(_: StageRun) -> None:
        raise StageInputError("a pool must have plans, but it is empty; run rollout again")

    with pytest.raises(StageInputError, match="must have plans"):
        run_stage(store, ROLLOUT, fail)
    (run_id,) = all_runs(store)
    run = store.run(run_id)
    assert run.info.status == "FAILED"
    assert "must have plans" in run.data.tags[names.ERROR]
    assert not run_stage(store, ROLLOUT, write_pool()).reused


def test_an_interrupt_leaves_a_killed_run_that_the_next_start_continues(store: Store) -> None:
    def interrupt(run: StageRun) -> None:
        (run.work / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(store, ROLLOUT, interrupt)
    (run_id,) = all_runs(store)
    assert store.run(run_id).info.status == "KILLED"

    def go_on(run: StageRun) -> None:
        assert (run.work / "half").read_text() == "half"
        write_pool()(run)

    assert run_stage(store, ROLLOUT, go_on).run_id == run_id
    assert store.run(run_id).info.status == "FINISHED"


def test_work_is_removed_once_its_outputs_are_stored(store: Store) -> None:
    run_stage(store, ROLLOUT, write_pool())
    assert list((store.work_dir / "stages").iterdir()) == []


def start(point: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), point, str(folder)], capture_output=True, text=True, check=False, cwd=folder
    )


@pytest.mark.parametrize("point", ["computing", "publishing", "closing"])
def test_a_stage_killed_anywhere_ends_with_the_same_bytes_in_the_same_run(
    store_folder: Path, point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = start(point, store_folder)
    assert killed.returncode == -9, killed.stderr
    start_here("never", store_folder)
    answer = json.loads(capsys.readouterr().out)
    store = connect("test", store_folder / "work")
    assert all_runs(store) == [answer["run_id"]]
    assert Path(answer["path"]).read_text() == "".join(f"{number}\n" for number in range(10))
    assert answer["digest"] == digest_file(Path(answer["path"]))
    models = store.client.search_logged_models([store.experiment_id])
    assert [model.model_id for model in models] == [answer["model_id"]]
    steps = [metric.step for metric in store.client.get_metric_history(answer["run_id"], "loss")]
    assert steps == list(range(10)), "each step once, in one run"


def test_the_second_of_two_processes_waits_and_reuses(store: Store, store_folder: Path) -> None:
    stage = Stage(StageKey("counted", 1), "counted")

    def compute(run: StageRun) -> None:
        command = [sys.executable, str(SCRIPT), "never", str(store_folder)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=store_folder)
        children.append(child)
        assert child.stderr is not None
        assert any("waiting for it to end" in line for line in child.stderr)
        table = run.work / "lines.txt"
        table.write_text("one\n")
        run.output("lines", ArtifactKind.DATASET, table)

    children: list[subprocess.Popen[str]] = []
    first = run_stage(store, stage, compute)
    output, _ = children[0].communicate()
    answer = json.loads(output)
    assert (answer["run_id"], answer["reused"]) == (first.run_id, True)


def test_two_processes_do_a_concurrent_stage_at_once_each_in_its_own_run(store: Store, store_folder: Path) -> None:
    stage = Stage(StageKey("counted", 1), "counted", reusable=False, concurrent=True)
    beside: list[str] = []

    def compute(_run: StageRun) -> None:
        done = start("beside", store_folder)  # returns while this process holds the stage
        assert done.returncode == 0, done.stderr
        beside.append(json.loads(done.stdout)["run_id"])

    first = run_stage(store, stage, compute)
    assert sorted(all_runs(store)) == sorted([first.run_id, *beside])
    assert {store.run(run_id).info.status for run_id in (first.run_id, *beside)} == {"FINISHED"}


def test_a_stage_that_was_stopped_is_killed_and_goes_on_in_its_run(store: Store) -> None:
    def stop(_run: StageRun) -> None:
        raise StageStopped("after 2 of 6 questions")

    with pytest.raises(StageStopped):
        run_stage(store, ROLLOUT, stop)
    (run_id,) = all_runs(store)
    assert store.run(run_id).info.status == "KILLED"
    assert run_stage(store, ROLLOUT, write_pool()).run_id == run_id


def test_results_of_another_experiment_of_the_store_are_reused(store: Store, store_folder: Path) -> None:
    first = run_stage(store, ROLLOUT, write_pool())
    other = connect("other", store_folder / "work")
    assert run_stage(other, ROLLOUT, must_not_compute).run_id == first.run_id


def test_inputs_are_datasets_and_models_of_the_run(store: Store) -> None:
    pool = run_stage(store, ROLLOUT, write_pool()).outputs["pool"]
    model = run_stage(store, Stage(StageKey("sft", 1), "sft"), write_model).outputs["model"]
    evaluation = Stage(StageKey("evaluate", 1), "evaluate", {}, {"pool": pool, "fixer": model})
    run = store.run(run_stage(store, evaluation, nothing).run_id)
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "pool"
    assert dataset.dataset.digest == pool.digest[:16]
    assert json.loads(dataset.dataset.source)["uri"] == pool.uri
    assert json.loads(dataset.dataset.profile)["num_rows"] == 3
    assert [column["name"] for column in json.loads(dataset.dataset.schema)["mlflow_colspec"]] == ["question_id", "sql"]
    assert [item.model_id for item in run.inputs.model_inputs] == [model.model_id]


def test_parameters_are_flattened_and_cut_to_what_mlflow_takes(store: Store) -> None:
    stage = Stage(StageKey("orpo", 1), "orpo", {"orpo": {"beta": 0.25, "lora": {"rank": 0}}, "text": "x" * 9000})
    params = store.run(run_stage(store, stage, nothing).run_id).data.params
    assert params["orpo.beta"] == "0.25"
    assert params["orpo.lora.rank"] == "0"
    assert len(params["text"]) == names.MAX_PARAMETER_CHARACTERS


def test_thousands_of_metrics_arrive_in_order(store: Store) -> None:
    def compute(run: StageRun) -> None:
        for step in range(2500):
            run.log_metrics({"loss": 1 / (step + 1)}, step)
        run.log_metrics({"broken": float("nan")})

    result = run_stage(store, ROLLOUT, compute)
    history = store.client.get_metric_history(result.run_id, "loss")
    assert [metric.step for metric in history] == list(range(2500))
    assert "broken" not in result.metrics


def test_a_table_is_shown_by_the_ui_and_not_doubled_when_logged_again(store: Store) -> None:
    def compute(run: StageRun) -> None:
        for _ in range(2):
            run.log_table("questions", pd.DataFrame({"question_id": [1, 2], "selected": [True, False]}))

    result = run_stage(store, ROLLOUT, compute)
    table = store.client.load_table(store.experiment_id, "questions.json", [result.run_id])
    assert table["question_id"].tolist() == [1, 2]
    listed = json.loads(store.run(result.run_id).data.tags["mlflow.loggedArtifacts"])
    assert listed == [{"path": "questions.json", "type": "table"}]


def test_an_output_outside_the_work_folder_is_copied_not_linked(store: Store, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("as it was")
    result = run_stage(store, ROLLOUT, lambda run: run.output("mine", ArtifactKind.REPORT, mine))
    with mine.open("r+") as stream:
        stream.write("CHANGED")
    assert result.outputs["mine"].path.read_text() == "as it was"


def test_a_declared_output_must_exist(store: Store) -> None:
    with pytest.raises(StageInputError, match="must exist"):
        run_stage(store, ROLLOUT, lambda run: run.output("pool", ArtifactKind.DATASET, run.work / "none"))


def test_a_result_is_found_by_its_run(store: Store) -> None:
    result = run_stage(store, ROLLOUT, write_pool())
    assert load_result(store, result.run_id).outputs == result.outputs
    with pytest.raises(TrackingError, match="a run must exist"):
        load_result(store, "0" * 32)


def test_a_result_of_an_unfinished_run_is_refused(store: Store) -> None:
    def look_at_oneself(run: StageRun) -> None:
        with pytest.raises(StageInputError, match="must be FINISHED"):
            load_result(store, run.run_id)

    run_stage(store, ROLLOUT, look_at_oneself)


def test_the_run_that_mlflow_run_made_becomes_the_top_stage(
    store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = connect("launched", store_folder / "work")
    launched = before.client.create_run(before.experiment_id).info.run_id
    before.client.log_param(launched, "k", "as launched")
    monkeypatch.setenv("MLFLOW_RUN_ID", launched)
    store = connect("another name", store_folder / "work")
    assert "MLFLOW_RUN_ID" not in os.environ
    assert store.experiment_name == "launched"
    assert run_stage(store, ROLLOUT, write_pool()).run_id == launched
    assert store.run(launched).data.params["k"] == "as launched"
    other = Stage(StageKey("rollout", 1), "rollout", {"k": 5})
    assert run_stage(store, other, write_pool()).run_id != launched


def test_a_launched_run_points_to_the_finished_run_that_it_needs_not_repeat(
    store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = connect("launched", store_folder / "work")
    first = run_stage(before, ROLLOUT, write_pool())
    launched = before.client.create_run(before.experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", launched)
    store = connect("launched", store_folder / "work")
    assert run_stage(store, ROLLOUT, must_not_compute).run_id == first.run_id
    assert first.run_id in description(store, launched)


def test_the_models_of_a_run_show_its_metrics(store: Store) -> None:
    def compute(run: StageRun) -> None:
        run.log_metrics({"selector_ex": 0.61})
        write_model(run)

    model = run_stage(store, ROLLOUT, compute).outputs["model"]
    shown = store.client.get_logged_model(model.model_id)
    assert {metric.key: metric.value for metric in shown.metrics}["selector_ex"] == 0.61
    assert shown.name == "fixer"


def test_showing_a_curve_on_a_model_adds_no_point_to_it(store: Store) -> None:
    def compute(run: StageRun) -> None:
        for step in (1, 2, 3):
            run.log_metrics({"loss": 1 / step}, step)
        write_model(run)

    result = run_stage(store, ROLLOUT, compute)
    points = store.client.get_metric_history(result.run_id, "loss")
    assert [point.step for point in points] == [1, 2, 3]
    assert result.metrics["loss"] == 1 / 3


def test_a_measured_model_shows_the_metrics_beside_the_dataset(store: Store) -> None:
    data = run_stage(store, ROLLOUT, write_pool()).outputs["pool"]
    model = run_stage(store, Stage(StageKey("sft", 1), "sft"), write_model).outputs["model"]

    def compute(run: StageRun) -> None:
        run.log_metrics({"selector_ex": 0.61})
        measure_model(run, model, data)

    run_stage(store, Stage(StageKey("evaluate", 1), "evaluate", {}, {"pool": data, "fixer": model}), compute)
    shown = {metric.key: metric for metric in store.client.get_logged_model(model.model_id).metrics}["selector_ex"]
    assert (shown.value, shown.dataset_name, shown.dataset_digest) == (0.61, "pool", data.digest[:16])


def test_parameters_for_readers_are_shown_and_change_no_fingerprint(store: Store) -> None:
    settings = {"seed": 9713, "k": 4}
    stage = Stage(StageKey("orpo", 1), "orpo", settings, parameters={"seed": 0, "derived_seed": 9713})
    params = store.run(run_stage(store, stage, nothing).run_id).data.params
    assert params == {"seed": "0", "k": "4", "derived_seed": "9713"}
    assert stage.fingerprint == Stage(StageKey("orpo", 1), "orpo", settings).fingerprint


def test_names_that_mlflow_refuses_are_made_acceptable(store: Store) -> None:
    def compute(run: StageRun) -> None:
        run.tag({"team, of seed 0": "yes"})
        run.log_metrics({"ex@1": 1.0})

    run = store.run(run_stage(store, Stage(StageKey("a", 1), "a, b (c)", {"lr (scaled)": 1}), compute).run_id)
    assert run.data.params["lr scaled"] == "1"
    assert run.data.metrics["ex1"] == 1.0
    assert run.data.tags["team of seed 0"] == "yes"


def test_a_run_id_of_another_store_is_ignored(store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert connect("mine", store_folder / "work").experiment_name == "mine"


def command(name: str = "compare") -> Stage:
    return Stage(StageKey(f"command-{name}", 1), name, reusable=False)


def test_a_command_that_is_refused_leaves_no_run(store: Store) -> None:
    def refused(_: StageRun) -> None:
        raise ConfigError("two different teams must be compared, but got one")

    with pytest.raises(ConfigError):
        run_stage(store, command(), refused)
    assert all_runs(store) == []
    assert list((store.work_dir / "stages").iterdir()) == []


def test_a_command_that_began_a_stage_keeps_its_failed_run(store: Store) -> None:
    def refused_later(run: StageRun) -> None:
        run_stage(store, ROLLOUT, write_pool(), parent=run.run_id)
        raise ConfigError("the second team is unknown")

    with pytest.raises(ConfigError):
        run_stage(store, command(), refused_later)
    states = {run.info.run_name: run.info.status for run in store.client.search_runs([store.experiment_id])}
    assert states == {"compare": "FAILED", ROLLOUT.title: "FINISHED"}


@pytest.mark.parametrize(
    "finding",
    [PromotionRefused("no better than the champion"), TrainingError("a trial needs pairs, but K = 2 has none")],
)
def test_what_a_command_found_stays_as_a_record(store: Store, finding: MatsError) -> None:
    def refused(_: StageRun) -> None:
        raise finding

    with pytest.raises(type(finding)):
        run_stage(store, command("promote"), refused)
    assert len(all_runs(store)) == 1


def test_a_command_tells_its_finding_above_what_it_reused(store: Store) -> None:
    run_stage(store, ROLLOUT, write_pool())

    def told(run: StageRun) -> None:
        run_stage(store, ROLLOUT, must_not_compute, parent=run.run_id)
        run.description = "* COLLAB is better"

    note = description(store, run_stage(store, command(), told).run_id)
    assert note.startswith("* COLLAB is better\n\nReused finished runs:")


def test_the_machines_load_is_beside_a_trainings_curves_and_not_on_its_model(store: Store) -> None:
    def trained(run: StageRun) -> None:
        with system_metrics(run, 0.05):
            time.sleep(0.3)
        write_model(run)

    made = run_stage(store, Stage(StageKey("sft", 1), "sft"), trained)
    metrics = store.run(made.run_id).data.metrics
    assert "system/cpu_utilization_percentage" in metrics
    model = store.client.get_logged_model(made.outputs["model"].model_id)
    assert not any(metric.key.startswith("system/") for metric in model.metrics or [])
    assert "SystemMetricsMonitor" not in {thread.name for thread in threading.enumerate()}
