"""The ladder's stage: the same answers as `evaluate`, nothing drawn twice, a bound that stays out of the registry."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mats_sql.agents.critique import Validator
from mats_sql.config import Experiment
from mats_sql.evaluation.diagnosis.gates import Maker, PerfectPart
from mats_sql.evaluation.diagnosis.ladder import Ladder, PlanGroup, read_ladder
from mats_sql.evaluation.diagnosis.ladder_report import ladder_page
from mats_sql.evaluation.diagnosis.ladder_rows import CritiqueKind, LadderCritique, LadderFix, LadderPlan
from mats_sql.evaluation.metrics import team_metrics
from mats_sql.evaluation.question_results import question_results
from mats_sql.evaluation.records import JudgedCandidate
from mats_sql.parquet import read_records
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.assemble import TeamModels
from mats_sql.pipeline.base_models import base_model
from mats_sql.pipeline.commands import diagnose_lines
from mats_sql.pipeline.evaluate import read_candidates
from mats_sql.pipeline.ladder import read_perfect_gate
from mats_sql.pipeline.questions import DEV, dev_source, read_split, validation_ids
from mats_sql.pipeline.workspace import Workspace
from mats_sql.sql.verdict import VerdictClass
from mats_sql.teaching.teacher import write_critique
from mats_sql.tracking.looks import looks_so_far
from mats_sql.tracking.stage import StageResult


def whole_team() -> TeamModels:
    """A team whose every agent is the packaged base model, which has learned each agent's task."""
    base = base_model("lab")
    return TeamModels("BASE", base, base, dict.fromkeys(Validator, base), base)


@pytest.fixture
def measured(workspace: Workspace) -> tuple[StageResult, StageResult]:
    """The team's evaluation and ladder."""
    return results.evaluation(workspace, whole_team()), results.ladder(workspace, whole_team())


def ladder_in(result: StageResult) -> Ladder:
    return read_ladder(result.outputs["ladder"].path)


def evaluated(result: StageResult) -> tuple[JudgedCandidate, ...]:
    return read_candidates(result.outputs["candidates"])


def test_own_gate_with_own_critiques_is_what_evaluate_measured(measured: tuple[StageResult, StageResult]) -> None:
    selector_ex = team_metrics(evaluated(measured[0])).scores.selector_ex
    assert ladder_in(measured[1]).gates.ex(Maker.OWN, Maker.OWN).proportion == selector_ex
    assert measured[1].metrics["ex/own_gate_own_critiques"] == measured[0].metrics["selector_ex"]


def test_every_distinct_plan_of_the_evaluation_is_on_the_ladder_once(measured: tuple[StageResult, StageResult]) -> None:
    plans = read_records(LadderPlan, measured[1].outputs["tables"].path / "plans.parquet")
    drawn = {
        (row.question_id, row.sql): row.verdict for row in evaluated(measured[0]) if row.origin == "plan" and row.sql
    }
    assert {(row.question_id, row.sql): row.verdict for row in plans} == drawn
    assert len(plans) == len(drawn)
    assert all((row.sign is None) == row.correct for row in plans)


def test_own_fixes_and_verdicts_are_those_of_the_evaluation(measured: tuple[StageResult, StageResult]) -> None:
    tables = measured[1].outputs["tables"].path
    plans = {row.plan_id: row for row in read_records(LadderPlan, tables / "plans.parquet")}
    fixes = {
        (plans[row.plan_id].question_id, plans[row.plan_id].sql): row
        for row in read_records(LadderFix, tables / "fixes.parquet")
        if row.kind is CritiqueKind.OWN
    }
    assert len(fixes) == len(plans)
    asked = 0
    for result in question_results(evaluated(measured[0])):
        for sample in result.samples:
            if sample.fix is not None:
                asked += 1
                own = fixes[result.question_id, sample.plan.sql or ""]
                assert own.sql == sample.fix.sql
                assert own.ends_correct == (sample.fix.verdict is VerdictClass.CORRECT)
    assert asked


def test_true_critiques_are_the_teachers_and_right_plans_are_told_none(
    workspace: Workspace, measured: tuple[StageResult, StageResult]
) -> None:
    tables = measured[1].outputs["tables"].path
    plans = {row.plan_id: row for row in read_records(LadderPlan, tables / "plans.parquet")}
    golds = dev_source(workspace.experiment, steps.questions(workspace)).golds
    schemas = read_split(workspace.experiment, DEV).schemas
    for row in read_records(LadderCritique, tables / "critiques.parquet"):
        plan = plans[row.plan_id]
        reference = plan.sql if plan.correct else golds[plan.question_id]
        assert row.true_text == write_critique(row.validator, plan.sql, reference, schemas[plan.db_id]).text
    for row in read_records(LadderFix, tables / "fixes.parquet"):
        if plans[row.plan_id].correct and row.kind is CritiqueKind.TRUE:
            assert row.feedback == "none"


def test_a_ladder_draws_nothing_that_evaluate_drew(
    workspace: Workspace, measured: tuple[StageResult, StageResult]
) -> None:
    """Climbed again with another limit, so that the run is new, it computes no completion: all are in the cache."""
    drawn: list[Sequence[int]] = []
    workspace.progress.update = lambda detail, done, total: drawn.append((done, total)) if "drawn" in detail else None  # type: ignore[method-assign]
    changed = workspace.experiment.model_dump(mode="json")
    changed["sql"]["limits"]["timeout_s"] += 1
    with Workspace(Experiment.model_validate(changed), workspace.store, workspace.progress) as again:
        second = results.ladder(again, whole_team())
    assert second.run_id != measured[1].run_id
    assert drawn == []
    assert repr(ladder_in(second)) == repr(ladder_in(measured[1]))


def test_the_perfect_gate_fixes_exactly_the_wrong_plans_and_is_in_no_registry(
    workspace: Workspace, measured: tuple[StageResult, StageResult]
) -> None:
    bound = read_perfect_gate(measured[1])
    for result in question_results(bound):
        for sample in result.samples:
            assert sample.plan.gate_open == (
                sample.plan.sql is not None and sample.plan.verdict is not VerdictClass.CORRECT
            )
    own = ladder_in(measured[1]).gates.ex(Maker.PERFECT, Maker.OWN).proportion
    assert team_metrics(bound).scores.selector_ex == own
    names = [model.name for model in workspace.store.client.search_registered_models()]
    assert names
    assert not any("ladder" in name or "gate" in name for name in names)


def test_a_ladder_on_validation_is_no_look_and_asks_validation_questions_alone(workspace: Workspace) -> None:
    before = looks_so_far(workspace.store)
    result = results.ladder(workspace, whole_team(), validation_only=True)
    assert looks_so_far(workspace.store) == before
    plans = read_records(LadderPlan, result.outputs["tables"].path / "plans.parquet")
    assert {row.question_id for row in plans} <= validation_ids(steps.questions(workspace))
    assert ladder_in(result).questions == len(validation_ids(steps.questions(workspace)))


def test_a_planner_alone_has_a_ladder_and_gains_by_what_is_picked_only(workspace: Workspace) -> None:
    base = base_model("lab")
    ladder = ladder_in(results.ladder(workspace, TeamModels("ALONE", base, base, {}, None)))
    assert (ladder.rungs, ladder.validators) == ((), ())
    gains = {item.part: item.gain.difference for item in ladder.gates.gains}
    assert (gains[PerfectPart.GATE], gains[PerfectPart.FIXER]) == (0, 0)
    assert "What a perfect part would give ALONE" in ladder_page(ladder)


def test_diagnose_prints_the_ladder_and_blames_by_its_finding(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    diagnose_lines(workspace)
    printed = capsys.readouterr().out
    ladder = ladder_in(results.ladder(workspace, next(results.teams(workspace, "sft"))))
    assert printed.count(ladder.sentence) == 2
    true, none = (ladder.rung(PlanGroup.WRONG, kind).proportion for kind in (CritiqueKind.TRUE, CritiqueKind.NONE))
    assert (
        f"the fixer repairs {true.percent}% of wrong plans under true critiques, {none.percent}% under none" in printed
    )
    assert "right critique" not in printed
