"""`report` and `main` on the tiny experiment: the page, its protocol, second looks, settings that searches left."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from mats_sql.config import load_experiment
from mats_sql.errors import ConfigError
from mats_sql.evaluation.report.flips import Flip
from mats_sql.lab.base import base_model_path
from mats_sql.parquet import read_records
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.best_settings import best_settings
from mats_sql.pipeline.main import run_experiment
from mats_sql.pipeline.plan import Foresight, plan_experiment, plan_report
from mats_sql.pipeline.protocol import protocol_of
from mats_sql.pipeline.replicates import seeds_of
from mats_sql.pipeline.report import report_experiment
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import Labelling, labelling_of, matched_control
from mats_sql.tracking import names
from mats_sql.tracking.looks import looks_so_far
from mats_sql.tracking.registry import resolve, set_alias
from mats_sql.tracking.stage import Stage, StageKey, run_stage
from mats_sql.tracking.stage_run import StageRun
from mats_sql.tracking.store import connect
from tests.pipeline.test_teams import changed

REPORTED = {"name": "reported", "regimes": ["indep", "collab"], "controls": True}


@pytest.fixture
def reported(workspace: Workspace) -> Workspace:
    """The tiny experiment with two regimes and controls, under a name of its own: what it trained is shared."""
    experiment = changed(workspace.experiment, REPORTED)
    return Workspace(experiment, connect(experiment.name, experiment.work_dir), workspace.progress)


def as_command(workspace: Workspace, name: str = "report") -> tuple[str, Path]:
    """Report, or run `main`, in a command's run; return its id and the folder of the report."""

    def compute(run: StageRun) -> None:
        workspace.command = run
        report_experiment(workspace) if name == "report" else run_experiment(workspace)

    stage = Stage(StageKey(f"command-{name}", 1), name, reusable=False, concurrent=True)
    run_id = run_stage(workspace.store, stage, compute).run_id
    return run_id, workspace.experiment.work_dir / "reports" / f"{workspace.experiment.name}-{run_id[:8]}"


def again(workspace: Workspace, **settings: object) -> Workspace:
    """Another process's view of the experiment, with other settings."""
    experiment = changed(workspace.experiment, settings)
    return Workspace(experiment, connect(experiment.name, experiment.work_dir), workspace.progress)


def test_a_report_has_every_section_and_is_in_its_run(reported: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    run_id, folder = as_command(reported)
    page, markdown = ((folder / name).read_text("utf-8") for name in ("report.html", "report.md"))
    printed = capsys.readouterr().out
    assert str(folder / "report.html") in printed
    for section in ("Verdict", "Results", "Paired comparison and controls", "Flips", "Cost", "Protocol and lineage"):
        assert f"## {section}" in markdown
        assert f"<h2>{section}</h2>" in page
    for told in (
        "matched INDEP",
        "P(gap ≥ 1 pp)",
        "P(gap ≥ 2 pp)",
        "Gold receipt",
        "reported.team/",
        "seconds per point",
    ):
        assert told in markdown, told
        assert told in page or told.replace("≥", "&ge;") in page
    logged = {file.path for file in reported.store.client.list_artifacts(run_id)}
    assert {"report.html", "report.md", "flips.csv", "flips.parquet", "figures"} <= logged
    flips = read_records(Flip, folder / "flips.parquet")
    with (folder / "flips.csv").open(encoding="utf-8", newline="") as file:
        assert [int(row["question_id"]) for row in csv.DictReader(file)] == [flip.question_id for flip in flips]
    _can_be_made_again(reported, markdown)


def _can_be_made_again(reported: Workspace, markdown: str) -> None:
    settings = markdown.rsplit("```", 2)[1]
    path = reported.experiment.work_dir / "printed.yaml"
    path.write_text(settings, encoding="utf-8")
    printed = load_experiment(path)
    assert printed.protocol.digest == protocol_of(reported.experiment, steps.questions(reported)).digest
    assert printed.model_copy(update={"protocol": reported.experiment.protocol}) == reported.experiment
    assert "storage" not in yaml.safe_load(settings).get("search", {})


def test_a_second_report_is_a_second_look_and_says_so(reported: Workspace) -> None:
    first, _ = as_command(reported)
    before = looks_so_far(reported.store)
    _, folder = as_command(again(reported))
    markdown = (folder / "report.md").read_text("utf-8")
    assert "A second look" in markdown
    assert first[:8] in markdown
    assert looks_so_far(reported.store) == before + 1


def test_main_ends_with_the_report(reported: Workspace) -> None:
    run_id, folder = as_command(reported, "main")
    assert (folder / "report.html").exists()
    tags = reported.store.run(run_id).data.tags
    assert json.loads(tags[names.REPORT])["metric"] == "selector EX"


def test_a_changed_protocol_is_refused_before_anything_is_computed(reported: Workspace) -> None:
    as_command(reported)
    runs = _stage_runs(reported)
    other = again(reported, policy={"k": 1}, seeds=(0, 1))
    for refused in (as_command, lambda view: as_command(view, "main"), lambda view: plan_report(view.experiment)):
        with pytest.raises(ConfigError, match=r"seeds \(was 0, is 0, 1\).*k \(was 2, is 1\).*--set name=reported-2"):
            refused(other)
    assert _stage_runs(reported) == runs


def test_a_protocol_that_the_config_pins_holds_before_the_first_report(reported: Workspace) -> None:
    digest = protocol_of(reported.experiment, steps.questions(reported)).digest
    plan_report(changed(reported.experiment, {"protocol": {"digest": digest[:8]}}))
    pinned = {"name": "pinned", "protocol": {"digest": digest[:8]}, "policy": {"k": 3}}
    with pytest.raises(ConfigError, match=f"must be protocol.digest {digest[:8]}.*set back what was changed"):
        plan_experiment(changed(reported.experiment, pinned))


def test_runs_bear_the_digest_of_their_protocol(reported: Workspace) -> None:
    run_id, _ = as_command(reported)
    digest = protocol_of(reported.experiment, steps.questions(reported)).digest
    assert reported.store.run(run_id).data.tags[names.PROTOCOL] == digest
    fresh = again(reported, name="fresh", orpo={"beta": 0.11})
    line, seeds = next(steps.lines(fresh.experiment)), seeds_of(fresh.experiment)[0]
    trained = steps.preferred_validators(fresh, labelling_of(fresh.experiment, "indep"), line, seeds)
    for model in trained.values():
        assert fresh.store.run(model.run_id).data.tags[names.PROTOCOL] == digest


def test_a_regime_has_the_setting_that_its_search_left_and_its_match_has_it_too(reported: Workspace) -> None:
    searched = again(
        reported, name="tuned", controls=True, orpo={"beta": 0.4}, pairs={"k": 2, "max_pairs_per_prompt": 4}
    )
    line, seeds = next(steps.lines(searched.experiment)), seeds_of(searched.experiment)[0]
    winner = results.preferred_team(searched, labelling_of(searched.experiment, "collab"), line, seeds)
    results.evaluation(searched, winner, validation_only=True)
    digest = results.assemble(searched, winner).outputs["team"].digest
    version = next(one for one in _teams(searched) if one.digest == digest)
    set_alias(searched.store, version, "best-of-search-collab")
    view = again(reported, name="tuned")
    best = best_settings(view.experiment, view.store)
    assert {label: own.model_dump() for label, own in best.experiment.tuned.items()} == {
        "collab": {"beta": 0.4, "learning_rate": view.experiment.orpo.learning_rate, "k": 2}
    }
    _, folder = as_command(view)
    made = results.preferred_team(view, labelling_of(view.experiment, "collab"), line, seeds)
    assert results.assemble(view, made).outputs["team"].digest == digest
    collab = labelling_of(view.experiment, "collab")
    match = matched_control(view.experiment, collab)
    assert match is not None
    betas = {one.name: _preference(view, one, line, seeds) for one in (collab, match, Labelling("indep"))}
    assert betas == {"COLLAB": ("0.4", "2"), "INDEP (matched to COLLAB)": ("0.4", "2"), "INDEP": ("0.25", "3")}
    assert f"{version}, best of its search" in (folder / "report.md").read_text("utf-8")
    kept = best_settings(changed(reported.experiment, {"name": "tuned", "tuned": {"collab": {}}}), view.store)
    assert kept.found == {}


def _preference(view: Workspace, labelling: Labelling, line: results.Line, seeds: results.Seeds) -> tuple[str, str]:
    team = results.preferred_team(view, labelling, line, seeds)
    return team.preference["beta"], team.preference["k"]


def _teams(workspace: Workspace) -> list[object]:
    found = workspace.store.client.search_model_versions("name = 'tuned.team'")
    return [resolve(workspace.store, f"tuned.team/{item.version}") for item in found]


def test_a_dry_run_says_what_is_reused_which_look_it_is_and_what_it_could_see(
    reported: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    as_command(reported)
    runs = _stage_runs(reported)
    capsys.readouterr()
    planned = plan_report(reported.experiment)
    printed = capsys.readouterr().out
    assert {stage.foresight for stage in planned} == {Foresight.REUSED}
    assert f"look number {looks_so_far(reported.store) + 1} at the final set, after" in printed
    assert "Minimal detectable effect on 12 questions" in printed
    assert protocol_of(reported.experiment, steps.questions(reported)).digest in printed
    assert _stage_runs(reported) == runs


def test_a_dry_run_says_what_the_last_stages_of_a_kind_took(
    reported: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = plan_report(changed(reported.experiment, {"name": "costly", "orpo": {"beta": 0.33}}))
    printed = capsys.readouterr().out
    coming = [stage for stage in planned if stage.foresight is not Foresight.REUSED]
    orpo = next(stage for stage in coming if "condition-validator" in stage.title)
    assert orpo.cost is not None
    measured = reported.store.run(orpo.cost.run_id).data
    assert measured.tags["agent"] == "condition-validator"
    assert orpo.cost.seconds == measured.metrics["stage.seconds"]
    assert orpo.cost.bytes > (base_model_path() / "model.safetensors").stat().st_size
    assert all(stage.cost is None for stage in planned if stage.foresight is Foresight.REUSED)
    total = sum(stage.cost.seconds for stage in coming if stage.cost) / 60
    assert f"{total:,.1f} minutes of stages" in printed


def _stage_runs(workspace: Workspace) -> int:
    found = workspace.store.client.search_runs(
        workspace.store.experiment_ids, f"tags.`{names.FINGERPRINT}` LIKE '%'", max_results=5000
    )
    return len(found)
