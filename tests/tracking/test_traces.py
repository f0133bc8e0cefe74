"""Answers as traces in a real store: what one sees, that no agent saw the gold, and that twice is once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Trace
from mlflow.models import Model

from mats_sql.agents.critique import Critique, Validator, Verdict
from mats_sql.errors import ConfigError, TrackingError
from mats_sql.rollout.sample import Source
from mats_sql.sql.execution import Execution, Outcome
from mats_sql.team.flow import TeamAnswer
from mats_sql.team.policy import Candidate
from mats_sql.team.transcript import spoken
from mats_sql.tracking.answer_traces import TRACES_VARIABLE, AnswerTraces
from mats_sql.tracking.store import Store
from mats_sql.tracking.traces import Judged, TracedAnswer, TraceSource, log_traces

GOLD = "SELECT 'nobody but the judge knows this'"
RAN = Execution(Outcome.ROWS, ("n",), ((3,),), 1, digest="d")
FAILED = Execution(Outcome.ERROR, error="no such column: nmae")


@pytest.fixture
def answer(source: Source) -> TeamAnswer:
    """Two equal plans that failed and were fixed, and one that ran."""
    doubts = (
        Critique(Validator.SELECT, "SELECT.\nConclude: incorrect.", Verdict.INCORRECT),
        Critique(Validator.CONDITION, "CONDITION.\nConclude: correct.", Verdict.CORRECT),
    )
    rows = []
    for index in (0, 1):
        plan = Candidate(
            index, "plan", "SELECT nmae", FAILED, doubts, gate_open=True, eligible=False, plan_text="a plan"
        )
        fix = Candidate(index, "fix", "SELECT name", RAN, doubts, gate_open=True, score=0.9, group_size=3)
        rows += [plan, fix]
    rows.append(Candidate(2, "plan", "SELECT 3", RAN, doubts[1:], score=0.2, group_size=3, selected=True))
    return TeamAnswer(next(iter(source.tasks.values())), tuple(rows))


def traced(answer: TeamAnswer) -> TracedAnswer:
    judged = Judged("wrong_rows", is_correct=False, gold=GOLD)
    return TracedAnswer("SFT 17", "SFT · question 17", answer.task, spoken(answer), {"team": "SFT"}, judged)


def found(store: Store) -> list[Trace]:
    return list(store.client.search_traces(locations=[store.experiment_id]))


def test_a_trace_tells_every_turn_and_the_verdict(store: Store, answer: TeamAnswer) -> None:
    run = store.client.create_run(store.experiment_id)
    source = TraceSource(store.experiment_id, run.info.run_id)
    for _ in range(2):
        assert len(log_traces(store.tracking_uri, source, [traced(answer)])) == 1
    (trace,) = found(store)
    names = {span.span_id: span.name for span in trace.data.spans}
    tree = [(names.get(span.parent_id or "", ""), span.name) for span in trace.data.spans]
    assert tree == [
        ("", "SFT · question 17"),
        ("SFT · question 17", "plans 1, 2"),
        ("plans 1, 2", "planner"),
        ("plans 1, 2", "execute"),
        ("plans 1, 2", "select-validator: incorrect"),
        ("plans 1, 2", "condition-validator: correct"),
        ("plans 1, 2", "fixer"),
        ("plans 1, 2", "execute"),
        ("SFT · question 17", "plan 3"),
        ("plan 3", "planner"),
        ("plan 3", "execute"),
        ("plan 3", "condition-validator: correct"),
        ("SFT · question 17", "selector"),
        ("selector", "score 0.900"),
        ("selector", "score 0.200"),
    ]
    assert trace.info.request_preview == answer.task.question.text
    assert trace.info.response_preview == "SELECT 3"
    assert trace.info.trace_metadata["mlflow.sourceRun"] == run.info.run_id
    said = {one.name: one for one in trace.info.assessments}
    assert sorted(said) == ["correct", "gold_sql"]
    assert len(trace.info.assessments) == 2
    assert said["correct"].feedback.value is False
    assert said["gold_sql"].expectation.value == GOLD


def test_no_span_holds_the_gold(store: Store, answer: TeamAnswer) -> None:
    log_traces(store.tracking_uri, TraceSource(store.experiment_id), [traced(answer)])
    (trace,) = found(store)
    assert GOLD not in json.dumps([span.to_dict() for span in trace.data.spans])
    assert GOLD in str(trace.info.assessments)


def test_a_store_that_cannot_be_written_is_one_line(store: Store, answer: TeamAnswer) -> None:
    with pytest.raises(TrackingError, match="traces must be written"):
        log_traces(store.tracking_uri, TraceSource("777"), [traced(answer)])


def loaded_model(store: Store, folder: Path) -> Path:
    """Return the team's folder of a model that a run of the store made."""
    run = store.client.create_run(store.experiment_id)
    (folder / "team").mkdir(parents=True)
    Model(run_id=run.info.run_id, model_id="m-17").save(str(folder / "MLmodel"))
    return folder / "team"


def test_the_first_answers_of_a_loaded_team_are_traced_where_its_store_is(
    store: Store, answer: TeamAnswer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRACES_VARIABLE, "3")
    team = loaded_model(store, tmp_path / "model")
    traces = AnswerTraces(team)
    for _ in range(2):
        traces.log([answer, answer], (1_700_000_000_000_000_000, 1_700_000_002_500_000_000))
    made = found(store)
    assert len(made) == 3
    assert {trace.info.trace_metadata["mlflow.modelId"] for trace in made} == {"m-17"}
    assert {trace.info.execution_duration for trace in made} == {2500}
    monkeypatch.setenv(TRACES_VARIABLE, "0")
    AnswerTraces(team).log([answer], (1, 2))
    assert len(found(store)) == 3
    monkeypatch.setenv(TRACES_VARIABLE, "some")
    with pytest.raises(ConfigError, match="must be a number"):
        AnswerTraces(team)


def test_elsewhere_an_answer_leaves_nothing_behind(
    store: Store, answer: TeamAnswer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = loaded_model(store, tmp_path / "model")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "sqlite:///mlflow.db")
    AnswerTraces(team).log([answer], (1, 2))
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert MlflowClient(store.tracking_uri).search_traces(locations=[store.experiment_id]) == []
