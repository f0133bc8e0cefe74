"""A benchmark without a train split: given checkpoints are evaluated, and only what trains is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mats_sql.config import Experiment, LabSettings
from mats_sql.errors import BenchmarkError
from mats_sql.lab.generator import write_lab
from mats_sql.parquet import read_records
from mats_sql.pipeline import results
from mats_sql.pipeline.commands import compare_named, evaluate_teams, train_supervised
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.questions import QuestionRow, dev_source, read_split, train_source
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.store import connect

TEAMS = {
    "given": {"planner": "base", "validators": "base", "fixer": "base", "selector": "base"},
    "zero-shot": {"planner": "base", "validators": "none", "fixer": "none", "selector": "none"},
}


def opened(folder: Path, root: Path, **settings: object) -> Workspace:
    experiment = Experiment.model_validate(
        {
            "name": "dev-alone",
            "work_dir": folder / "work",
            "benchmark": {
                "kind": "bird",
                "root": root,
                "dev_questions": 4,
                "validation_questions": 2,
                **settings,
            },
            "generation": {"plan_tokens": 64, "critique_tokens": 32, "fix_tokens": 32},
            "policy": {"k": 1},
            "teams": TEAMS,
        }
    )
    return Workspace(experiment, connect(experiment.name, experiment.work_dir), Progress())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in BIRD's layout that holds dev files alone."""
    written = tmp_path_factory.mktemp("lab")
    write_lab(written, LabSettings(train_databases=1, train_questions=4, dev_databases=2, dev_questions=8))
    for path in written.glob("train*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return written


@pytest.fixture
def dev_alone(folder: Path, tracked: None, root: Path) -> Iterator[Workspace]:  # noqa: ARG001
    with opened(folder, root) as workspace:
        yield workspace


def test_teams_of_given_checkpoints_are_evaluated_and_compared(
    dev_alone: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_teams(dev_alone, "given")
    evaluate_teams(dev_alone, "zero-shot")
    compare_named(dev_alone, "zero-shot", "given")
    assert "given" in capsys.readouterr().out
    made = {name: next(results.teams(dev_alone, name)) for name in TEAMS}
    assert {name: sorted(team.agents()) for name, team in made.items()} == {
        "given": ["condition-validator", "fixer", "planner", "select-validator", "selector"],
        "zero-shot": ["planner"],
    }
    assert results.evaluation(dev_alone, made["given"]).metrics["questions"] == 4
    runs = dev_alone.store.client.search_runs([dev_alone.store.experiment_id])
    stages = {run.data.tags["mats.stage"] for run in runs}
    assert {stage for stage in stages if stage.startswith(("sft", "rollout", "orpo"))} == set()


def test_what_trains_is_refused_with_what_to_do(dev_alone: Workspace, root: Path) -> None:
    with pytest.raises(BenchmarkError) as caught:
        train_supervised(dev_alone, "planner")
    assert str(caught.value) == (
        f"training needs a train split, but {root} has none; put the benchmark's train files there, or evaluate a team "
        "of given checkpoints (docs/benchmarks.md)"
    )


def test_dev_databases_may_be_the_train_split(folder: Path, tracked: None, root: Path) -> None:  # noqa: ARG001
    with opened(folder, root) as whole:
        asked = {question.db_id for question in read_split(whole.experiment, "dev").questions}
    first, *others = sorted(asked)
    with opened(folder, root, train_databases=[first]) as parted:
        train, dev = (read_split(parted.experiment, split) for split in ("train", "dev"))
        questions = prepare(parted).outputs["questions"]
        trained = train_source(parted.experiment, questions).tasks.values()
        evaluated = dev_source(parted.experiment, questions).tasks.values()
    assert (set(train.schemas), set(dev.schemas)) == ({first}, set(others))
    assert len(trained) == len(train.questions)
    assert {task.question.db_id for task in trained} == {first}
    assert {task.question.db_id for task in evaluated} == set(others)
    with opened(folder, root, train_databases=["nowhere"]) as unknown, pytest.raises(BenchmarkError) as caught:
        read_split(unknown.experiment, "train")
    assert str(caught.value) == (
        "benchmark.train_databases must name databases of bird-dev, but no question asks about nowhere; "
        f"name some of {', '.join(sorted(asked))}"
    )


def test_prepare_counts_what_a_budget_leaves_out_of_the_schemas(folder: Path, tracked: None, root: Path) -> None:  # noqa: ARG001
    with opened(folder, root) as whole, opened(folder, root, schema_characters=500) as bounded:
        free, bound = prepare(whole), prepare(bounded)
        questions = free.outputs["questions"]
        assert questions.digest == bound.outputs["questions"].digest
        assert free.metrics.keys() & {"schemas_shortened", "schema_columns_left_out", "schemas_over_budget"} == set()
        long = {key: task.schema_text for key, task in dev_source(whole.experiment, questions).tasks.items()}
        short = {key: task.schema_text for key, task in dev_source(bounded.experiment, questions).tasks.items()}
    lines = sum(len(text.splitlines()) - len(short[key].splitlines()) for key, text in long.items())
    assert bound.metrics["schemas_shortened"] == sum(short[key] != text for key, text in long.items()) > 0
    assert 0 < bound.metrics["schema_columns_left_out"] <= lines
    assert bound.metrics["schemas_over_budget"] == sum(len(text) > 500 for text in short.values())


def test_the_same_files_below_another_root_are_the_same_benchmark(
    dev_alone: Workspace, folder: Path, root: Path, tmp_path: Path
) -> None:
    first = prepare(dev_alone)
    with opened(folder, shutil.copytree(root, tmp_path / "elsewhere")) as moved:
        again = prepare(moved)
        assert (again.run_id, again.reused) == (first.run_id, True)
        tasks = dev_source(moved.experiment, again.outputs["questions"]).tasks
        assert all(task.database.is_relative_to(tmp_path) for task in tasks.values())


def test_another_gold_of_the_same_questions_is_another_questions_table(
    dev_alone: Workspace, folder: Path, root: Path, tmp_path: Path
) -> None:
    first = prepare(dev_alone).outputs["questions"]
    corrected = shutil.copytree(root, tmp_path / "corrected")
    items = json.loads((corrected / "dev.json").read_text(encoding="utf-8"))
    items[0]["SQL"] += " -- looked at again"
    (corrected / "dev.json").write_text(json.dumps(items), encoding="utf-8")
    with opened(folder, corrected) as other:
        second = prepare(other).outputs["questions"]
    assert read_records(QuestionRow, second.path) == read_records(QuestionRow, first.path)
    assert second.digest != first.digest, "what was judged by the old gold would be used again"
