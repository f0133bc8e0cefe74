"""The judge stage and its command: real candidates against BIRD's rule, and one line for every bad input."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from mats_sql.cli import commands
from mats_sql.config import SqlLimits
from mats_sql.pipeline.judge import JudgeReport, JudgeRequest, judge_file
from mats_sql.sql.verdict import VerdictClass
from tests.sql.real_data import PlainEvaluator, real_candidates, shared

COMMAND = [sys.executable, str(Path(__file__).parents[2] / "entrypoints" / "judge.py")]


Verdicts = dict[tuple[int, str], dict[str, str]]


@dataclass(slots=True)
class RealJudgings:
    """Judges each real input once, for all tests."""

    folder: Path
    done: dict[str, tuple[JudgeReport, Verdicts]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[JudgeReport, Verdicts]:
        if name not in self.done:
            root, candidates = shared(name), shared("candidates", f"{name}_dev.jsonl.gz")
            request = JudgeRequest(root, candidates, self.folder / f"{name}.jsonl", cache=self.folder / "cache")
            report = judge_file(request)
            lines = [json.loads(line) for line in request.out.read_text().splitlines()]
            self.done[name] = report, {(line["question_id"], line["system"]): line for line in lines}
        return self.done[name]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealJudgings:
    return RealJudgings(tmp_path_factory.mktemp("real"))


@pytest.mark.parametrize("name", ["bird", "spider"])
def test_every_official_verdict_on_real_candidates_is_birds(name: str, real: RealJudgings) -> None:
    report, verdicts = real.of(name)
    plain = PlainEvaluator()
    known: dict[tuple[Path, str, str], bool] = {}
    different = []
    for candidate in real_candidates(name):
        key = (candidate.database, candidate.gold, candidate.sql)
        if key not in known:
            known[key] = plain.correct(*key)
        found = verdicts[candidate.question_id, candidate.system]
        if (found["official"] == "correct") is not known[key]:
            different.append((candidate.question_id, candidate.system, found))
    assert different == []
    assert report.judged == len(verdicts) == {"bird": 287 * 54, "spider": 511 * 119}[name]
    assert report.receipt.correct == report.receipt.judged == {"bird": 287, "spider": 1034}[name]


def test_multiset_agrees_with_the_published_labels(real: RealJudgings) -> None:
    _, verdicts = real.of("bird")
    labels = json.loads(shared("candidates", "bird_dev_multiset_labels.json").read_text())
    pairs = [(system, int(qid), label) for system, of in labels.items() for qid, label in of.items()]
    different = [
        (system, qid)
        for system, qid, label in pairs
        if (verdicts[qid, f"bird-climb__{system}"]["multiset"] == "correct") is not label
    ]
    assert (len(pairs), different) == (2009, [])


def test_a_second_judging_executes_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    root, candidates = write_benchmark(tmp_path), write_candidates(tmp_path)
    outs = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    reports = [judge_file(JudgeRequest(root, candidates, out, cache=tmp_path / "cache")) for out in outs]
    assert reports[0].executed > 0
    assert reports[1].executed == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def write_benchmark(folder: Path) -> Path:
    """Write a BIRD layout: two questions on ``hero``, one on ``lost`` whose database is not there."""
    root = folder / "benchmark"
    (root / "dev_databases" / "hero").mkdir(parents=True)
    with sqlite3.connect(root / "dev_databases" / "hero" / "hero.sqlite") as connection:
        connection.execute("CREATE TABLE hero (id INTEGER, name TEXT)")
        connection.execute("INSERT INTO hero VALUES (1, 'Ada'), (2, 'Bo')")
    connection.close()
    golds = [("hero", "SELECT name FROM hero"), ("hero", "SELECT nothing FROM hero"), ("lost", "SELECT 1")]
    questions = [
        {"question_id": number, "db_id": db_id, "question": f"Q{number}?", "SQL": sql}
        for number, (db_id, sql) in enumerate(golds)
    ]
    (root / "dev.json").write_text(json.dumps(questions))
    (root / "dev_tables.json").write_text(json.dumps([_tables("hero"), _tables("lost")]))
    return root


def _tables(db_id: str) -> dict[str, object]:
    columns = [[-1, "*"], [0, "id"], [0, "name"]]
    return {
        "db_id": db_id,
        "table_names": ["hero"],
        "table_names_original": ["hero"],
        "column_names": columns,
        "column_names_original": columns,
        "column_types": ["text", "integer", "text"],
        "primary_keys": [1],
        "foreign_keys": [],
    }


def write_candidates(folder: Path, question_ids: tuple[int, ...] = (2, 0, 1)) -> Path:
    sqls = {"good": "SELECT name FROM hero ORDER BY name DESC", "bad": "DROP TABLE hero", "none": None}
    lines = [json.dumps({"question_id": number, "candidates": sqls}) for number in question_ids]
    path = folder / "candidates.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_every_candidate_gets_a_line_in_file_order_and_every_verdict_is_counted(tmp_path: Path) -> None:
    out = tmp_path / "out" / "verdicts.jsonl"
    request = JudgeRequest(write_benchmark(tmp_path), write_candidates(tmp_path), out)
    report = judge_file(request)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["question_id"], line["system"]) for line in lines] == [
        (number, system) for number in (2, 0, 1) for system in ("good", "bad", "none")
    ]
    assert lines[3] == {
        "question_id": 0,
        "system": "good",
        "official": "correct",
        "multiset": "correct",
        "ordered": "wrong",
        "outcome": "rows",
    }
    assert [line["official"] for line in lines] == [
        *["gold_unavailable"] * 3,
        *["correct", "refused", "error"],
        *["gold_unavailable", "gold_unavailable", "error"],
    ]
    good = report.systems[0]
    assert good.official == {VerdictClass.CORRECT: 1, VerdictClass.GOLD_UNAVAILABLE: 2}
    assert (good.multiset_correct, good.ordered_correct) == (1, 0)
    assert report.questions_without_database == (2,)
    receipt = json.loads(request.receipt.read_text())
    assert (receipt["judged"], receipt["correct"], receipt["without_database"]) == (2, 1, 1)
    assert [note["question_id"] for note in receipt["failed"]] == [1]


def test_a_prediction_file_in_birds_format_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "predict.json"
    path.write_text(json.dumps({"0": "SELECT name FROM hero\t----- bird -----\thero"}))
    report = judge_file(JudgeRequest(write_benchmark(tmp_path), path, tmp_path / "out.jsonl"))
    assert report.systems[0].official == {VerdictClass.CORRECT: 1}


Spoil = Callable[[Path, Path], None]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda root, _: (root / "dev.json").unlink(), "dev.json"),
        (lambda root, _: (root / "dev.json").write_text("{"), "dev.json"),
        (lambda root, _: (root / "dev_tables.json").unlink(), "dev_tables.json"),
        (lambda _, candidates: candidates.unlink(), "candidates.jsonl"),
        (lambda _, candidates: candidates.write_text("{broken"), "must be JSON"),
        (lambda _, candidates: candidates.write_text('{"99": "SELECT 1"}'), "question 99"),
        (lambda _, candidates: candidates.write_text('{"2": "SELECT 1"}'), "none of the databases"),
        (lambda _, candidates: candidates.write_text('{"0": "SELECT 1\\t----- bird -----\\tlost"}'), "db_id"),
        (lambda root, _: _database(root).write_bytes(b"junk"), "hero.sqlite"),
        (lambda root, _: _database(root).write_bytes(_database(root).read_bytes()[:-4096]), "hero.sqlite"),
        (lambda root, _: _forget_database_of_a_question(root), "db_id"),
    ],
    ids=range(11),
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, spoil: Spoil, complaint: str) -> None:
    root, candidates, out = write_benchmark(tmp_path), write_candidates(tmp_path), tmp_path / "out.jsonl"
    spoil(root, candidates)
    options = ["--benchmark-root", root, "--candidates", candidates, "--out", out, "--cache", tmp_path / "cache"]
    done = CliRunner().invoke(commands, ["judge", *map(str, options)], catch_exceptions=False)
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") == 1, done.stderr
    assert complaint in done.stderr
    assert not out.exists()
    assert not list(tmp_path.glob("*.partial"))


def _database(root: Path) -> Path:
    return root / "dev_databases" / "hero" / "hero.sqlite"


def _forget_database_of_a_question(root: Path) -> None:
    questions = json.loads((root / "dev.json").read_text())
    del questions[0]["db_id"]
    (root / "dev.json").write_text(json.dumps(questions))


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    root, candidates = write_benchmark(tmp_path), write_candidates(tmp_path)
    options = ["--benchmark-root", root, "--candidates", candidates, "--out", tmp_path, "--cache", tmp_path / "c"]
    done = subprocess.run([*COMMAND, *map(str, options)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_the_command_prints_its_table(tmp_path: Path) -> None:
    root, candidates = write_benchmark(tmp_path), write_candidates(tmp_path)
    options = ["--benchmark-root", root, "--candidates", candidates, "--out", tmp_path / "o", "--cache", tmp_path / "c"]
    done = subprocess.run([*COMMAND, *map(str, options)], capture_output=True, text=True, check=True)
    assert "gold_unavailable" in done.stdout
    assert "refused" in done.stdout


def test_help_answers_without_heavy_imports() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND[1], "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert not any(name in done.stderr for name in ("torch", "mlflow", "pandas", "pydantic"))


def test_limits_are_part_of_the_receipt(tmp_path: Path) -> None:
    root, candidates = write_benchmark(tmp_path), write_candidates(tmp_path)
    request = JudgeRequest(root, candidates, tmp_path / "o.jsonl", limits=SqlLimits(timeout_s=3))
    assert judge_file(request).receipt.limits["timeout_s"] == 3
