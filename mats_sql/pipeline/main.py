"""`main`: the whole experiment, and its closing page.

Every stage is its own nested run; finished ones are reused. With ``main.search`` each regime is searched first and goes
on with its best settings; with ``main.promote`` the team that is best on validation becomes champion. Prints the result
tables, and logs them and the figures to the command's own run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

from mats_sql.agents import Validator
from mats_sql.choices import Balance
from mats_sql.config import SFT_TEAMS, Experiment
from mats_sql.evaluation import question_sets
from mats_sql.evaluation.comparison import Comparisons, read_comparisons
from mats_sql.evaluation.diagnosis import Ladder, ladder_tables, read_ladder
from mats_sql.evaluation.report import (
    EvaluatedTeam,
    PairSet,
    ResultTable,
    RewardAccuracy,
    comparison_table,
    control_table,
    measure,
    pair_table,
    pass_at_k,
    print_tables,
    result_tables,
    reward_table,
    selector_by_seed,
    stage_table,
    team_bars,
    verdict_table,
)
from mats_sql.parquet import read_records
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.ahead import Step, do_ahead
from mats_sql.pipeline.evaluate import Evaluated, by_family, read_candidates, seed_tables, selector_scores
from mats_sql.pipeline.ladder import read_perfect_gate
from mats_sql.pipeline.progress import result_console
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.replicates import seeds_of, supervised_seeds
from mats_sql.pipeline.tuning import promote_best, tuned_by_search
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import PreferencePair, labellings
from mats_sql.tracking import StageRun

PERFECT_GATE = "PERFECT-GATE (bound)"
"""The SFT team with its own critiques and a gate that fixes exactly the wrong plans: it reads gold, so is no team."""


def run_experiment(workspace: Workspace) -> None:
    """Train, evaluate, compare and register every team of the experiment; print and log the result tables."""
    _agents_ahead(workspace)
    workspace = tuned_by_search(workspace)
    _teams_ahead(workspace)
    evaluated = [(team, results.evaluation(workspace, team)) for team in results.teams(workspace)]
    ladders = [(line, results.supervised_ladder(workspace, line)) for line in steps.lines(workspace.experiment)]
    compared = [results.regime_comparison(workspace, line) for line in steps.lines(workspace.experiment)]
    gaps = [read_comparisons(result.outputs["comparisons"].path) for result in compared if result is not None]
    climbed = [read_ladder(result.outputs["ladder"].path) for _, result in ladders]
    bounds = [EvaluatedTeam(f"{PERFECT_GATE}, {line.label}", read_perfect_gate(result)) for line, result in ladders]
    tables = [*_tables(workspace, evaluated, bounds, gaps), *(table for one in climbed for table in ladder_tables(one))]
    if workspace.command is not None:
        _log(workspace.command, tables, climbed, evaluated)
    _print(tables, gaps, climbed, workspace.registered)
    if workspace.experiment.main.promote:
        promote_best(workspace, evaluated)


def _agents_ahead(workspace: Workspace) -> None:
    """Train side by side the SFT agents that learn from the same plans: they do not need one another."""
    experiment = workspace.experiment
    agents: list[Step] = []
    for seeds in supervised_seeds(experiment):
        steps.plans(workspace, seeds)
        agents += [partial(steps.supervised_fixer, mode=mode, seeds=seeds) for mode in experiment.fixers]
        agents += [partial(steps.supervised_validator, validator=validator, seeds=seeds) for validator in Validator]
    do_ahead(workspace, agents)


def _teams_ahead(workspace: Workspace) -> None:
    """Train and evaluate side by side the teams that learn from one pool.

    The SFT teams are evaluated before, in this process: every other team draws the same plans, and most of the same
    fixes, which the cache then has.
    """
    experiment = workspace.experiment
    for build in _builders(experiment, SFT_TEAMS):
        results.built_evaluation(workspace, build)
    rest = _builders(experiment, [*(labelling.key for labelling in labellings(experiment)), *experiment.teams])
    ladders: list[Step] = [partial(results.supervised_ladder, line=line) for line in steps.lines(experiment)]
    do_ahead(workspace, [*ladders, *(partial(results.built_evaluation, build=build) for build in rest)])


def _builders(experiment: Experiment, names: Sequence[str]) -> list[results.TeamBuilder]:
    return [build for name in names for build in results.team_builders(experiment, name)]


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


def _tables(
    workspace: Workspace, evaluated: Evaluated, bounds: Sequence[EvaluatedTeam], gaps: Sequence[Comparisons]
) -> list[ResultTable]:
    validation = validation_ids(steps.questions(workspace))
    teams = [EvaluatedTeam(team.label, read_candidates(result.outputs["candidates"])) for team, result in evaluated]
    everything = measure(teams, question_sets(teams[0].question_ids, validation)[0])
    return [
        *result_tables(teams, validation, bounds),
        *seed_tables(evaluated, workspace.experiment.seeds_vary),
        stage_table(everything),
        verdict_table(everything),
        pair_table(_pair_sets(workspace)),
        reward_table(_rewards(workspace)),
        *(table for family in gaps for name in family.question_sets for table in _gap_tables(family, name)),
    ]


def _gap_tables(gaps: Comparisons, question_set: str) -> list[ResultTable]:
    tables = [comparison_table(gaps.on(question_set), question_set)]
    return [*tables, control_table(gaps, question_set)] if gaps.controls else tables


def _pair_sets(workspace: Workspace) -> list[PairSet]:
    experiment = workspace.experiment
    first, sets = seeds_of(experiment)[0], []
    single = len(list(steps.lines(experiment))) == 1
    for line, labelling in product(steps.lines(experiment), labellings(experiment)):
        metrics = steps.critique_pairs(workspace, labelling, line, first).metrics
        for name, validator in ((validator.value, validator) for validator in Validator):
            controlled = labelling.balance is not Balance.NONE
            sets.append(
                PairSet(
                    labelling.name if single else f"{labelling.name}, {line.label}",
                    validator,
                    int(metrics[f"{name}/training_pairs"]),
                    metrics[f"{name}/chosen_incorrect"],
                    int(metrics[f"{name}/missing_pairs"]) if controlled else None,
                    metrics[f"{name}/mix_off"] if controlled else None,
                )
            )
    return sets


def _rewards(workspace: Workspace) -> list[RewardAccuracy]:
    experiment = workspace.experiment
    first, rewards = seeds_of(experiment)[0], []
    single = len(list(steps.lines(experiment))) == 1
    for line, labelling in product(steps.lines(experiment), labellings(experiment)):
        built = steps.regime_pairs(workspace, labelling.regime, line, first).outputs
        for validator in Validator:
            trained = steps.preferred_validator(workspace, validator, labelling, line, first).metrics
            held_out = read_records(PreferencePair, built[f"{validator.value}_evaluation"].path)
            rewards.append(
                RewardAccuracy(
                    regime=labelling.key if single else f"{labelling.key}, {line.label}",
                    validator=validator,
                    loss=trained.get("eval_loss", float("nan")),
                    accuracy=trained.get("eval_rewards/accuracies", float("nan")),
                    pairs=len(held_out),
                )
            )
    return rewards


def _log(run: StageRun, tables: Sequence[ResultTable], ladders: Sequence[Ladder], evaluated: Evaluated) -> None:
    parts = [*(table.to_markdown() for table in tables), *(f"**{ladder.sentence}**\n" for ladder in ladders)]
    run.log_text("report.md", "\n".join(parts))
    run.log_text("results.csv", tables[0].to_csv())
    _log_figures(run, evaluated)
    for team, result in evaluated:
        name = team.label.replace(", ", "_").replace(" ", "-").lower()
        run.log_metrics({f"selector_ex/{name}": result.metrics["selector_ex"]})


def _log_figures(run: StageRun, evaluated: Evaluated) -> None:
    """Log each team's first seed in detail, and the selector EX of all seeds."""
    first = [members[0] for members in by_family(evaluated).values()]
    teams = [(team.label, read_candidates(result.outputs["candidates"])) for team, result in first]
    run.log_figure("teams", team_bars(teams))
    run.log_figure("pass_at_k", pass_at_k(teams))
    run.log_figure("selector_ex_by_seed", selector_by_seed(selector_scores(evaluated)))


def _print(
    tables: Sequence[ResultTable], gaps: Sequence[Comparisons], ladders: Sequence[Ladder], registered: Sequence[str]
) -> None:
    console = result_console()
    print_tables(console, tables)
    for family in gaps:
        for name in family.question_sets:
            console.print(f"Paired gaps on {name}:")
            for comparison in family.on(name):
                console.print(f"  {comparison.verdict}")
            for survival in family.survivals(name):
                console.print(f"  {survival.sentence}")
    for ladder in ladders:
        console.print(ladder.sentence, markup=False, soft_wrap=True)
    console.print(f"\nRegistered: {registered_text(registered)}")
    console.print("Look at it: `make ui`, then the experiment's runs, models and charts.")
