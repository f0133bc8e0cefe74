"""The whole experiment on the embedded lab, driven through its entry points."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from mats_sql.agents.planner import planner_messages
from mats_sql.config import load_experiment
from mats_sql.parquet import read_records
from mats_sql.pipeline.experiment import planner_pairs, plans, questions
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.questions import train_source
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference.pair import PreferencePair
from mats_sql.rollout.pool import read_pool
from mats_sql.tracking.lineage_tree import lineage
from mats_sql.tracking.promotion import team_of_run
from mats_sql.tracking.store import Store, connect
from tests.acceptance.conftest import Place

Finished = tuple[Place, "subprocess.CompletedProcess[str]"]


@pytest.fixture
def client(finished: Finished) -> MlflowClient:
    return MlflowClient(finished[0].tracking_uri)


@pytest.fixture
def store(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Store:
    place = finished[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.tracking_uri)
    return connect("small", place.folder / "work")


def runs(client: MlflowClient, name: str = "%") -> list[Run]:
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"attributes.run_name LIKE '{name}'", max_results=500))


def looks(client: MlflowClient) -> int:
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    return int(experiment.tags["mats.final_set_looks"])


def test_main_prints_the_result_table_the_gap_and_what_was_registered(finished: Finished) -> None:
    printed = finished[1].stdout
    for expected in (
        "planner@1",
        "oracle pass@2",
        "selector EX",
        "PLANNER-only",
        "SFT-VF",
        "ORPO INDEP",
        "ORPO COLLAB_V2",
        "VALIDATORS-no-fixer",
        "collab-no-fixer, aware fixer, seed 0",
        "PERFECT-GATE (bound)",
        "The ladder of SFT-VF",
        "the weakest station is",
        "Validator reward accuracies",
        "outside the validation split",
        "95% CI",
        "small.planner/1",
        "make ui",
    ):
        assert expected in printed


@pytest.mark.parametrize("team", ["SFT-VF", "VALIDATORS-no-fixer", "ORPO COLLAB_V2", "collab-no-fixer"])
def test_the_printed_selector_ex_is_what_the_teams_evaluation_measured(
    finished: Finished, client: MlflowClient, team: str
) -> None:
    evaluated = runs(client, f"{team.removeprefix('ORPO ')}%· evaluate")
    measured = evaluated[0].data.metrics["selector_ex"]
    rows = [line.split() for line in finished[1].stdout.splitlines() if team in line]
    assert any(f"{100 * measured:.2f}" in row for row in rows), (measured, rows)


def test_the_perfect_gate_is_a_row_of_the_result_and_nowhere_else(finished: Finished, client: MlflowClient) -> None:
    printed = finished[1].stdout
    rows = [line for line in printed.splitlines() if line.strip().startswith("PERFECT-GATE")]
    assert len(rows) == 2, "once per question set"
    assert not [line for line in printed.splitlines() if "PERFECT-GATE" in line and "−" in line]
    names = {model.name for model in client.search_registered_models()}
    assert not [name for name in names if "gate" in name or "ladder" in name]
    assert not [key for run in runs(client, "main") for key in run.data.metrics if "gate" in key]


def test_diagnose_shows_the_ladder_of_a_team_without_another_look(finished: Finished, client: MlflowClient) -> None:
    before = looks(client)
    done = finished[0].call("diagnose", "--team", "sft")
    assert done.returncode == 0, done.stderr
    assert "The ladder of SFT-VF" in done.stdout
    assert "✓" not in done.stderr
    assert looks(client) == before
    validation = finished[0].call("diagnose", "--team", "sft", "--part", "validation")
    assert "8 validation questions" in validation.stdout, validation.stderr
    refused = finished[0].call("diagnose", "--part", "validation")
    assert refused.returncode == 2
    assert "name the team" in refused.stderr


def test_the_power_of_the_comparison_is_told_before_it_is_made(finished: Finished) -> None:
    told = finished[1].stderr
    assert told.index("Minimal detectable effect") < told.index("compare COLLAB_V2")


def test_every_stage_is_a_finished_run_nested_under_main(client: MlflowClient) -> None:
    (main,) = runs(client, "main")
    nested = [run for run in runs(client) if run.data.tags.get("mlflow.parentRunId") == main.info.run_id]
    assert {run.info.status for run in (main, *nested)} == {"FINISHED"}
    stages = {run.data.tags["mats.stage"] for run in nested}
    assert stages >= {
        "prepare",
        "sft",
        "rollout-plans",
        "rollout-pool",
        "pairs",
        "orpo",
        "assemble",
        "evaluate",
        "compare",
    }


def test_training_runs_have_curves_and_every_run_names_the_commit(client: MlflowClient) -> None:
    trained = runs(client, "sft planner")[0]
    losses = client.get_metric_history(trained.info.run_id, "train/loss")
    assert len(losses) > 2
    assert all("mats.commit" in run.data.tags for run in runs(client))


def test_a_second_run_computes_nothing_and_registers_nothing(finished: Finished) -> None:
    again = finished[0].run("main")
    assert again.returncode == 0, again.stderr
    assert "✓" not in again.stderr
    assert "nothing new" in again.stdout


def test_from_a_team_one_walks_to_every_dataset_and_model_it_came_from(store: Store) -> None:
    names, waiting = set(), [lineage(store, "models:/small.team/1")]
    while waiting:
        node = waiting.pop()
        names.add(node.name)
        waiting += node.sources
    datasets, agents = {"pool", "plans", "questions"}, {"planner", "fixer", "selector", "select-validator"}
    assert {"base", *datasets, *agents} <= names


def test_the_lineage_of_a_version_is_printed_and_an_unknown_one_is_one_line(finished: Finished) -> None:
    place = finished[0]
    program = "from mats_sql.cli import commands; commands()"
    shown = subprocess.run(
        [sys.executable, "-c", program, "lineage", "small.team/1", "--config", str(place.config)],
        cwd=place.folder,
        env=place.environment(),
        capture_output=True,
        text=True,
    )
    unknown = place.call("lineage", "small.team/99")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("small.team/1")
    assert all(name in shown.stdout for name in ("small.planner/1", "questions", "pool"))
    assert unknown.returncode == 2
    assert len([line for line in unknown.stderr.splitlines() if line.startswith("error:")]) == 1


def test_the_registered_team_answers_questions_with_sql_that_runs(store: Store) -> None:
    (file,) = (store.work_dir / "lab").rglob("dev.json")
    asked = [
        {
            "question": item["question"],
            "evidence": item["evidence"],
            "database": str(file.parent / "dev_databases" / item["db_id"] / f"{item['db_id']}.sqlite"),
        }
        for item in json.loads(file.read_text("utf-8"))[:10]
    ]
    answers = mlflow.pyfunc.load_model("models:/small.team/1").predict(pd.DataFrame(asked))
    ran = answers["outcome"].isin(["rows", "empty"])
    assert ran.sum() >= 3, answers.to_string()
    for database, sql in zip(pd.DataFrame(asked)["database"][ran], answers["sql"][ran], strict=True):
        assert sql.lower().startswith(("select", "with"))
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(sql)
    assert answers["score"][ran].between(0, 1).all()


def test_promote_moves_the_champion_and_refuses_with_the_reason(
    finished: Finished, client: MlflowClient, store: Store
) -> None:
    place = finished[0]
    evaluated = runs(client, "INDEP%· evaluate")[0].info.run_id
    refused = place.call("promote", "--run-id", evaluated, "--set", "promote.min_selector_ex=1.0")
    assert refused.returncode == 2
    assert "min_selector_ex" in refused.stderr.splitlines()[-1]
    assert "champion" not in client.get_registered_model("small.team").aliases
    promoted = place.call("promote", "--run-id", evaluated)
    assert promoted.returncode == 0, promoted.stderr
    champion = client.get_model_version_by_alias("small.team", "champion")
    assert (champion.tags["regime"], f"small.team/{champion.version}") == ("indep", str(team_of_run(store, evaluated)))


def test_compare_takes_regimes_named_teams_and_run_ids(finished: Finished, client: MlflowClient) -> None:
    place = finished[0]
    ids = [runs(client, f"{name}%· evaluate")[0].info.run_id for name in ("PLANNER-only", "SFT-VF")]
    for baseline, treatment in (("indep", "collab_v2"), ("validators", "collab-no-fixer"), ids):
        done = place.call("compare", "--baseline", baseline, "--treatment", treatment)
        assert done.returncode == 0, done.stderr
        (look,) = re.findall(r"Look number (\d+) at", done.stdout)
        assert 1 <= int(look) <= looks(client)


@pytest.fixture
def workspace(finished: Finished, store: Store) -> Iterator[Workspace]:
    with Workspace(load_experiment(finished[0].config), store, Progress()) as opened:
        yield opened


def test_the_planners_pairs_prefer_a_correct_plan_to_a_wrong_one_under_a_prompt_without_gold(
    workspace: Workspace,
) -> None:
    drawn = {row.plan_id: row for row in read_pool(plans(workspace, Seeds()).path).plans}
    source = train_source(workspace.experiment, questions(workspace))
    built = planner_pairs(workspace, Seeds()).outputs
    train, held_out = (read_records(PreferencePair, built[name].path) for name in ("planner", "planner_evaluation"))
    assert train
    assert held_out
    assert not {pair.question_id for pair in train} & {pair.question_id for pair in held_out}
    for pair in (*train, *held_out):
        chosen, rejected = drawn[pair.chosen_source], drawn[pair.rejected_source]
        task = source.tasks[pair.question_id]
        assert (chosen.correct, rejected.correct) == (True, False)
        assert (chosen.text, rejected.text) == (pair.chosen, pair.rejected)
        assert chosen.question_id == rejected.question_id == pair.question_id
        assert pair.chosen_prompt == pair.rejected_prompt == planner_messages(task.question, task.schema_text)
        assert source.golds[pair.question_id] not in pair.chosen_prompt[0].content


@pytest.mark.parametrize(("agent", "regime"), [("planner", "execution"), ("fixer", "joint")])
def test_orpo_trains_the_planner_and_the_fixer_too_and_registers_them(
    finished: Finished, client: MlflowClient, agent: str, regime: str
) -> None:
    before = len(client.search_model_versions(f"name = 'small.{agent}'"))
    for entry_point in ("pairs", "orpo"):
        # few questions of so small a pool have fixes of both kinds: of a tenth of them none may be held out
        done = finished[0].call(entry_point, "--agent", agent, "--set", "pairs.evaluation_share=0.5")
        assert done.returncode == 0, done.stderr
    (trained,) = runs(client, f"%{agent}%· orpo")
    assert 0 <= trained.data.metrics["eval_rewards/accuracies"] <= 1
    newest, *older = client.search_model_versions(f"name = 'small.{agent}'", order_by=["version_number DESC"])
    assert (len(older), newest.tags["regime"], newest.run_id) == (before, regime, trained.info.run_id)


def test_search_keeps_one_run_per_trial_and_warns_of_its_optimism(finished: Finished, client: MlflowClient) -> None:
    done = finished[0].call("search", "--regime", "collab_v2")
    assert done.returncode == 0, done.stderr
    assert "The best of 2 trials" in done.stdout
    assert "overstates itself" in done.stdout
    first, second = (run.data.metrics["selector_ex"] for run in runs(client, "trial %"))
    assert f"{100 * max(first, second):.2f}" in done.stdout


def test_diagnose_ends_with_the_station_where_the_signal_is_lost(finished: Finished, client: MlflowClient) -> None:
    done = finished[0].call("diagnose")
    assert done.returncode == 0, done.stderr
    (finding,) = " ".join(done.stdout.split()).split("Where the signal is lost")[1:]
    assert "COLLAB_V2: " in finding
    station = runs(client, "diagnose%")[0].data.tags["lost_at.collab_v2"]
    assert f"lost at {station}" in finding if station != "nowhere" else "pp at selector EX" in finding


def test_nothing_is_written_outside_the_work_folder_and_the_store(finished: Finished) -> None:
    place = finished[0]
    assert {path.name for path in place.folder.iterdir()} <= {
        "experiment.yaml",
        "mlflow.db",
        "mlflow.db.lock",
        "work",
        "mlruns",
    }
