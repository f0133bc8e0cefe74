"""`main`: the whole experiment, and its closing page.

Every stage is its own nested run; finished ones are reused. Prints the result tables; logs the figures to the command's
own run and writes the report (:mod:`mats_sql.pipeline.report`). With ``main.promote`` the team that is best on
validation becomes champion.
"""

from __future__ import annotations

from collections.abc import Sequence

from mats_sql.evaluation import ALL, question_sets
from mats_sql.evaluation.comparison import Comparisons
from mats_sql.evaluation.diagnosis import ladder_tables
from mats_sql.evaluation.report import (
    ResultTable,
    comparison_table,
    control_table,
    measure,
    pass_at_k,
    print_tables,
    result_tables,
    selector_by_seed,
    stage_table,
    team_bars,
    verdict_table,
)
from mats_sql.pipeline.evaluate import seed_tables, selector_scores
from mats_sql.pipeline.outcome import Outcome, gather
from mats_sql.pipeline.progress import result_console
from mats_sql.pipeline.report import write_report
from mats_sql.pipeline.shown import described
from mats_sql.pipeline.tuning import promote_best
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking import StageRun

NEXT = "mats-sql promote --run-id <the evaluate run of the best team, whose gap is distinguishable>"


def run_experiment(workspace: Workspace) -> None:
    """Train, evaluate, compare and register every team of the experiment; print the result tables, write the report."""
    outcome = gather(workspace)
    tables = _tables(workspace, outcome)
    if workspace.command is not None:
        _log(workspace.command, tables, outcome)
    _print(tables, outcome, workspace.registered)
    if workspace.command is not None:
        result_console().print(f"Report: {write_report(workspace, outcome)}", soft_wrap=True)
    if workspace.experiment.main.promote:
        promote_best(workspace, outcome.evaluated)


def registered_text(versions: Sequence[str]) -> str:
    """Return new versions (``name/number``) by name, models first, with their numbers together."""
    if not versions:
        return "nothing new: equal content keeps its version"
    numbers: dict[str, list[str]] = {}
    for version in versions:
        name, _, number = version.rpartition("/")
        numbers.setdefault(name, []).append(number)
    ordered = sorted(numbers, key=lambda name: (".dataset." in name, name))
    return "\n  " + "\n  ".join(f"{name}/{', '.join(numbers[name])}" for name in ordered)


def _tables(workspace: Workspace, outcome: Outcome) -> list[ResultTable]:
    everything = measure(outcome.teams, question_sets(outcome.question_ids, outcome.validation)[0])
    return [
        *result_tables(outcome.teams, outcome.validation, outcome.bounds),
        *seed_tables(outcome.evaluated, workspace.experiment.seeds_vary),
        stage_table(everything),
        verdict_table(everything),
        *outcome.learned,
        *(table for family in outcome.gaps for name in family.question_sets for table in _gap_tables(family, name)),
        *(table for ladder in outcome.ladders for table in ladder_tables(ladder)),
    ]


def _gap_tables(gaps: Comparisons, question_set: str) -> list[ResultTable]:
    tables = [comparison_table(gaps.on(question_set), question_set)]
    return [*tables, control_table(gaps, question_set)] if gaps.controls else tables


def _log(run: StageRun, tables: Sequence[ResultTable], outcome: Outcome) -> None:
    """Log the result table, each team's first seed in detail, and the selector EX of all seeds; describe the run."""
    run.log_text("results.csv", tables[0].to_csv())
    findings = [
        *(gap.verdict for one in outcome.gaps for gap in one.on(ALL)),
        *(one.sentence for one in outcome.ladders),
    ]
    run.description = described(findings, tables[0].to_markdown(), NEXT)
    first = [(team.name, team.candidates) for team in outcome.first_seeds]
    run.log_figure("teams", team_bars(first))
    run.log_figure("pass_at_k", pass_at_k(first))
    run.log_figure("selector_ex_by_seed", selector_by_seed(selector_scores(outcome.evaluated)))
    for team, result in outcome.evaluated:
        name = team.label.removeprefix("ORPO ").replace(", ", "_").replace(" ", "-").lower()
        run.log_metrics({f"selector_ex/{name}": result.metrics["selector_ex"]})


def _print(tables: Sequence[ResultTable], outcome: Outcome, registered: Sequence[str]) -> None:
    console = result_console()
    print_tables(console, tables)
    for family in outcome.gaps:
        for name in family.question_sets:
            console.print(f"Paired gaps on {name}:")
            for comparison in family.on(name):
                console.print(f"  {comparison.verdict}")
            for survival in family.survivals(name):
                console.print(f"  {survival.sentence}")
    for ladder in outcome.ladders:
        console.print(ladder.sentence, markup=False, soft_wrap=True)
    console.print(f"\nRegistered: {registered_text(registered)}")
    console.print("Look at it: `make ui`, then the experiment's runs, models and charts.")
