"""`ask`: one question about one database, answered by a registered team, with everything its agents said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from mats_sql.agents import Critique
from mats_sql.config import Experiment
from mats_sql.errors import StageInputError
from mats_sql.sql import Execution, Outcome
from mats_sql.team import PLAN, Candidate, TeamAnswer
from mats_sql.tracking import (
    ArtifactKind,
    Asked,
    Asker,
    TraceSource,
    answered,
    connect,
    log_traces,
    outputs_at,
    registered_name,
    resolve,
)

MAX_ROWS = 100


@dataclass(frozen=True, slots=True)
class AskRequest:
    """A question, and the address of the team that answers; empty: the experiment's champion."""

    asked: Asked
    model: str = ""


def ask_team(experiment: Experiment, request: AskRequest, console: Console) -> None:
    """Print plans, critiques, fixes, candidates, the chosen SQL and its rows; `traces.ask` makes them a trace too.

    Nothing is written to the database.

    Raises :class:`TrackingError` for an unknown model, :class:`StageInputError` for one that is no team,
    :class:`DatabaseError` for a database that cannot be read and :class:`ConfigError` for a bad address of one.
    """
    store = connect(experiment.name, experiment.work_dir)
    champion = f"models:/{registered_name(experiment.name, ArtifactKind.TEAM, 'team')}@champion"
    version = resolve(store, request.model or champion)
    if version.kind != ArtifactKind.TEAM:
        raise StageInputError(
            f"a question is answered by a team, but {version} is {version.kind or 'no team'}; name a team"
        )
    team = next(iter(outputs_at(store, version.uri).values()), None)
    if team is None:
        raise StageInputError(f"a team must be an output of its run, but {version} is not; assemble it again")
    with Asker(team.path, experiment.work_dir / "cache") as asker:
        asker.open(request.asked.database)  # what cannot be read is said before any model is loaded
        started = time.time_ns()
        (answer,) = asker.answer_many([request.asked])
        if not isinstance(answer, TeamAnswer):
            raise answer
        ended = time.time_ns()
        for line in told(answer):
            console.print(line, markup=False, soft_wrap=True)
        sql = answer.selected.sql
        if sql is not None and answer.selected.execution.ran:
            _print_rows(console, asker.execute(request.asked.database, sql, MAX_ROWS))
    if experiment.traces.ask:
        source = TraceSource(store.experiment_id, "", team.model_id, (started, ended))
        log_traces(store.tracking_uri, source, [answered(answer, "ask")])


def told(answer: TeamAnswer) -> Iterator[str]:
    """Yield what the agents said about a question, in the order of their turns, and which SQL was chosen."""
    plans = [row for row in answer.candidates if row.origin == PLAN]
    fixes = {row.sample_index: row for row in answer.candidates if row.origin != PLAN}
    for plan in plans:
        yield f"== plan {plan.sample_index + 1}: {_outcome(plan.execution)}\n{plan.plan_text.strip()}"
        yield from (f"-- {critique.validator.value} validator: {_said(critique)}" for critique in plan.critiques)
        if plan.sample_index in fixes:
            fix = fixes[plan.sample_index]
            yield f"-- fixer: {_outcome(fix.execution)}\n{fix.sql}"
        elif plan.gate_open:
            yield "-- fixer: no SQL"
    yield "== candidates"
    yield from (_candidate(row) for row in answer.candidates if row.eligible)
    yield f"== answer\n{answer.selected.sql or 'no candidate holds SQL'}"
    if not answer.selected.execution.ran:
        yield f"-- {_outcome(answer.selected.execution)}"


def _said(critique: Critique) -> str:
    return f"{critique.verdict.value}\n{critique.text.strip()}"


def _candidate(row: Candidate) -> str:
    mark = "*" if row.selected else " "
    score = "" if row.score is None else f"score {row.score:.3f}, "
    same = f"{score}{row.group_size} with this result"
    return f"{mark} {row.origin} {row.sample_index + 1} ({same}): {' '.join((row.sql or 'no SQL').split())}"


def _outcome(execution: Execution) -> str:
    if execution.outcome is Outcome.ROWS:
        return f"{execution.row_count} row{'s' if execution.row_count != 1 else ''}"
    words = execution.outcome.value.replace("_", " ")
    return f"{words}: {execution.error}" if execution.error else words


def _print_rows(console: Console, execution: Execution) -> None:
    table = Table(*execution.columns)
    for row in execution.preview:
        table.add_row(*("NULL" if value is None else str(value) for value in row))
    console.print(table, markup=False)
    left = execution.row_count - len(execution.preview)
    console.print(_outcome(execution) + (f", of which the last {left} are not shown" if left else ""), markup=False)
