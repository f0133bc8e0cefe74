"""`main`: the whole experiment. Every stage is its own nested run; finished ones are reused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console

from mats_sql.agents.critique import Validator
from mats_sql.choices import Regime
from mats_sql.evaluation.comparison.comparison import Comparison
from mats_sql.evaluation.question_sets import question_sets
from mats_sql.evaluation.report.plots import pass_at_k, selector_by_seed, team_bars
from mats_sql.evaluation.report.result_tables import (
    EvaluatedTeam,
    RewardAccuracy,
    comparison_table,
    measure,
    result_tables,
    reward_table,
    stage_table,
    verdict_table,
)
from mats_sql.evaluation.report.tables import ResultTable
from mats_sql.evaluation.report.terminal import print_tables
from mats_sql.pipeline.compare import Side, compare, comparisons
from mats_sql.pipeline.evaluate import evaluate, read_candidates
from mats_sql.pipeline.iterations import Line, lines, orpo, pairs
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.teams import TeamModels, all_teams
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.stage import StageResult
from mats_sql.tracking.stage_run import StageRun


def main(workspace: Workspace) -> None:
    """Train, evaluate, compare and register every team of the experiment; print and log the result tables."""
    validation = validation_ids(prepare(workspace).outputs["questions"])
    evaluated = [(team, evaluate(workspace, team)) for team in all_teams(workspace)]
    gaps = _compare_regimes(workspace, evaluated, validation)
    tables = _tables(workspace, evaluated, validation, gaps)
    if workspace.command is not None:
        _log(workspace.command, tables, evaluated)
    _print(tables, gaps, workspace.registered)


def _compare_regimes(
    workspace: Workspace, evaluated: Sequence[tuple[TeamModels, StageResult]], validation: frozenset[int]
) -> dict[str, list[Comparison]]:
    """Return, per question set, the gap of every collaborative regime over INDEP: one family per fixer."""
    experiment = workspace.experiment
    others = [regime for regime in experiment.regimes if regime is not Regime.INDEP]
    found: dict[str, list[Comparison]] = {}
    if Regime.INDEP not in experiment.regimes or not others:
        return found
    for line in lines(experiment):
        baseline = _side(evaluated, Regime.INDEP, line)
        treatments = [_side(evaluated, regime, line) for regime in others]
        compare(workspace, baseline, treatments)
        compared = comparisons(baseline, treatments, validation)
        for name in compared.question_sets:
            found.setdefault(name, []).extend(compared.on(name))
    return found


def _side(evaluated: Iterable[tuple[TeamModels, StageResult]], regime: Regime, line: Line) -> Side:
    results = [
        result.outputs["candidates"] for team, result in evaluated if team.regime == regime.value and team.line == line
    ]
    return Side(f"{regime.value.upper()} ({line.label})", results)


def _tables(
    workspace: Workspace,
    evaluated: Sequence[tuple[TeamModels, StageResult]],
    validation: frozenset[int],
    gaps: Mapping[str, Sequence[Comparison]],
) -> list[ResultTable]:
    teams = [EvaluatedTeam(team.label, read_candidates(result.outputs["candidates"])) for team, result in evaluated]
    everything = measure(teams, question_sets(teams[0].question_ids, validation)[0])
    return [
        *result_tables(teams, validation),
        stage_table(everything),
        verdict_table(everything),
        reward_table(_rewards(workspace)),
        *(comparison_table(compared, name) for name, compared in gaps.items()),
    ]


def _rewards(workspace: Workspace) -> list[RewardAccuracy]:
    experiment = workspace.experiment
    rewards = []
    single = len(list(lines(experiment))) == 1
    for line in lines(experiment):
        for regime in experiment.regimes:
            built = pairs(workspace, regime, line)
            for validator in Validator:
                trained = orpo(workspace, validator, regime, line, experiment.seeds[0]).metrics
                rewards.append(
                    RewardAccuracy(
                        regime=regime.value if single else f"{regime.value}, {line.label}",
                        validator=validator,
                        loss=trained.get("eval_loss", float("nan")),
                        accuracy=trained.get("eval_rewards/accuracies", float("nan")),
                        pairs=int(built.metrics[f"{validator.value}/pairs"]),
                    )
                )
    return rewards


def _log(run: StageRun, tables: Sequence[ResultTable], evaluated: Sequence[tuple[TeamModels, StageResult]]) -> None:
    run.log_text("report.md", "\n".join(table.to_markdown() for table in tables))
    run.log_text("results.csv", tables[0].to_csv())
    _log_figures(run, evaluated)
    for team, result in evaluated:
        name = team.label.replace(", ", "_").replace(" ", "-").lower()
        run.log_metrics({f"selector_ex/{name}": result.metrics["selector_ex"]})


def _log_figures(run: StageRun, evaluated: Sequence[tuple[TeamModels, StageResult]]) -> None:
    """Log each team's first seed in detail, and the selector EX of all seeds."""
    families: dict[str, list[tuple[TeamModels, StageResult]]] = {}
    for team, result in evaluated:
        families.setdefault(team.family, []).append((team, result))
    first = [members[0] for members in families.values()]
    teams = [(team.label, read_candidates(result.outputs["candidates"])) for team, result in first]
    run.log_figure("teams", team_bars(teams))
    run.log_figure("pass_at_k", pass_at_k(teams))
    scores = {name: [result.metrics["selector_ex"] for _, result in members] for name, members in families.items()}
    run.log_figure("selector_ex_by_seed", selector_by_seed(scores))


def _print(tables: Sequence[ResultTable], gaps: Mapping[str, Sequence[Comparison]], registered: Sequence[str]) -> None:
    console = Console(highlight=False)
    print_tables(console, tables)
    for name, compared in gaps.items():
        console.print(f"Paired gaps on {name}:")
        for comparison in compared:
            console.print(f"  {comparison.verdict}")
    console.print(f"\nRegistered: {registered_text(registered)}")
    console.print("Look at it: `make ui`, then the experiment's runs, models and charts.")


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
