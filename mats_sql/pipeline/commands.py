"""What each entry point asks of the experiment: which steps, for whom, and what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from mats_sql.agents import FIXER, PLANNER, SELECTOR, Validator, validator_name
from mats_sql.choices import PreferredAgent
from mats_sql.config import Experiment
from mats_sql.errors import ConfigError
from mats_sql.evaluation import ALL
from mats_sql.evaluation.comparison import Comparison, read_comparisons
from mats_sql.evaluation.diagnosis import ladder_tables, read_ladder
from mats_sql.evaluation.report import EvaluatedTeam, comparison_table, print_tables, result_tables
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.compare import Side
from mats_sql.pipeline.evaluate import read_candidates, seed_tables
from mats_sql.pipeline.judge import JudgeReport, JudgeRequest, judge_in_a_run
from mats_sql.pipeline.progress import result_console
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.replicates import seeds_of, supervised_seeds
from mats_sql.pipeline.shown import described
from mats_sql.pipeline.sides import named_sides
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import labellings_named
from mats_sql.sql import VerdictClass
from mats_sql.tracking import StageResult, connect, lineage, lineage_text


def prepare_questions(workspace: Workspace) -> None:
    """Find out which questions are usable; say how many and why not the others."""
    steps.questions(workspace)


def train_supervised(workspace: Workspace, agent: str) -> None:
    """Train the SFT agent of that name, or all of them, for every fixer and SFT seed of the experiment."""
    experiment = workspace.experiment
    for seeds in supervised_seeds(experiment):
        if agent == PLANNER:
            steps.planner(workspace, seeds)
        for validator in Validator:
            if agent == validator_name(validator):
                steps.supervised_validator(workspace, validator, seeds)
        if agent == FIXER:
            for mode in experiment.fixers:
                steps.supervised_fixer(workspace, mode, seeds)
        if agent in (SELECTOR, "all"):
            for line in steps.lines(experiment):
                results.supervised_team(workspace, line, seeds)


def draw_pools(workspace: Workspace) -> None:
    """Draw the pool of every line, and of every seed that varies it."""
    for line, seeds in product(steps.lines(workspace.experiment), seeds_of(workspace.experiment)):
        steps.pool(workspace, line, seeds)


def build_pairs(workspace: Workspace, agent: PreferredAgent, regime: str) -> None:
    """Build the pairs of an agent; ``regime`` (or ``all``) labels critiques, so it concerns the validators only.

    Raises :class:`ConfigError` for another agent with a regime.
    """
    experiment = workspace.experiment
    _require_no_regime(agent, regime)
    if agent is PreferredAgent.PLANNER:
        for seeds in seeds_of(experiment):
            steps.planner_pairs(workspace, seeds)
    elif agent is PreferredAgent.FIXER:
        for line, seeds in product(steps.lines(experiment), seeds_of(experiment)):
            steps.fixer_pairs(workspace, line, seeds)
    else:
        wanted = product(steps.lines(experiment), labellings_named(experiment, regime), seeds_of(experiment))
        for line, item, seeds in wanted:
            steps.critique_pairs(workspace, item, line, seeds)


def train_preferred(workspace: Workspace, agent: PreferredAgent, regime: str) -> None:
    """Train an agent with ORPO, on the pairs that :func:`build_pairs` builds.

    Raises :class:`ConfigError` for an agent other than the validators with a regime.
    """
    experiment = workspace.experiment
    _require_no_regime(agent, regime)
    if agent is PreferredAgent.PLANNER:
        for seeds in seeds_of(experiment):
            steps.preferred_planner(workspace, seeds)
    elif agent is PreferredAgent.FIXER:
        for line, seeds in product(steps.lines(experiment), seeds_of(experiment)):
            steps.preferred_fixer(workspace, line, seeds)
    else:
        wanted = product(steps.lines(experiment), labellings_named(experiment, regime), seeds_of(experiment))
        for line, item, seeds in wanted:
            steps.preferred_validators(workspace, item, line, seeds)


def evaluate_teams(workspace: Workspace, name: str) -> None:
    """Evaluate the teams of that name, or all teams of the experiment, and print their table."""
    evaluated = [(team, results.evaluation(workspace, team)) for team in results.teams(workspace, name)]
    teams = [EvaluatedTeam(team.label, read_candidates(result.outputs["candidates"])) for team, result in evaluated]
    tables = result_tables(teams, validation_ids(steps.questions(workspace)))
    best, result = max(evaluated, key=lambda one: one[1].metrics["selector_ex"])
    finding = f"{best.label} has the best selector EX of these: {100 * result.metrics['selector_ex']:.2f}%"
    _describe(workspace, [finding], tables[0].to_markdown(), f"mats-sql promote --run-id {result.run_id[:8]}")
    print_tables(result_console(), [*tables, *seed_tables(evaluated, workspace.experiment.seeds_vary)])


def compare_named(workspace: Workspace, baseline: str, treatment: str) -> None:
    """Compare two sides and print the page.

    A side is a team's name, or evaluate runs and registered teams parted by commas. Raises :class:`ConfigError` and
    :class:`TrackingError`, before anything is computed, for a side that is unknown and for one compared with itself.
    """
    before, after = named_sides(workspace, baseline, treatment)
    compared = results.comparison(workspace, before, [after])
    gaps = read_comparisons(compared.outputs["comparisons"].path)
    verdicts = [f"On {name}: {gap.verdict}" for name in gaps.question_sets for gap in gaps.on(name)]
    _describe(
        workspace, verdicts, comparison_table(gaps.on(ALL), ALL).to_markdown(), _after(gaps.on(ALL)[0], before, after)
    )
    _print_page(compared)


def diagnose_lines(workspace: Workspace) -> None:
    """Diagnose the pool and the teams of every line, and print the SFT team's ladder and the pages."""
    for line in steps.lines(workspace.experiment):
        diagnosed = results.diagnosis(workspace, line)
        climbed = results.supervised_ladder(workspace, line)
        ladder = read_ladder(climbed.outputs["ladder"].path)
        _describe(workspace, [ladder.sentence], ladder_tables(ladder)[0].to_markdown())
        _print_ladder(climbed)
        _print_page(diagnosed)


def show_ladders(workspace: Workspace, name: str, *, validation_only: bool = False) -> None:
    """Print the ladders of the teams of that name, on all usable dev questions or on the validation split."""
    for team in results.teams(workspace, name):
        _print_ladder(results.ladder(workspace, team, validation_only=validation_only))


def show_lineage(experiment: Experiment, address: str) -> None:
    """Print the tree of versions that an address was made from; raises :class:`TrackingError` for an unknown one."""
    store = connect(experiment.name, experiment.work_dir)
    Console(highlight=False, soft_wrap=True).print(lineage_text(lineage(store, address)), markup=False)


def judge_candidates(request: JudgeRequest, work_dir: Path) -> None:
    """Judge a file of candidates and print the counts per system."""
    _print_judging(judge_in_a_run(request, work_dir), request.receipt)


def _print_judging(report: JudgeReport, receipt: Path) -> None:
    found = [verdict for verdict in VerdictClass if any(system.official[verdict] for system in report.systems)]
    table = RichTable("system", *(verdict.value for verdict in found), "EX", "multiset", "ordered")
    for system in report.systems:
        total = system.official.total()
        shares = (system.official[VerdictClass.CORRECT], system.multiset_correct, system.ordered_correct)
        counts = (str(system.official[verdict]) for verdict in found)
        table.add_row(system.system, *counts, *(f"{100 * share / total:.2f}" for share in shares))
    console = result_console()
    console.print(table)
    gold = report.receipt
    console.print(f"{report.judged} verdicts in {report.elapsed_s:.2f} s; {report.executed} SQL executed")
    console.print(
        f"gold: {gold.correct} of {gold.judged} agree with themselves, {len(gold.failed)} failed, "
        f"{len(gold.slow)} slow; receipt: {receipt}"
    )
    if report.questions_without_database:
        console.print(f"{len(report.questions_without_database)} questions have no database here: gold_unavailable")


def _describe(workspace: Workspace, finding: Sequence[str], table: str = "", next_command: str = "") -> None:
    """Write what a command found at the top of its run's page, below what it wrote there before."""
    if workspace.command is not None:
        told = described(finding, table, next_command)
        workspace.command.description = "\n\n".join(part for part in (workspace.command.description, told) if part)


def _after(gap: Comparison, baseline: Side, treatment: Side) -> str:
    """Return the command that follows from a gap: the better side's promotion, or where the signal was lost."""
    if not gap.distinguishable:
        return "mats-sql diagnose"
    better = treatment if gap.difference > 0 else baseline
    return f"mats-sql promote --run-id {better.evaluations[0].run_id[:8]}"


def _print_ladder(result: StageResult) -> None:
    ladder = read_ladder(result.outputs["ladder"].path)
    console = result_console()
    print_tables(console, ladder_tables(ladder), rest="ladder.md of the run")
    console.print(f"{ladder.sentence}\n", markup=False, soft_wrap=True)


def _print_page(result: StageResult) -> None:
    page = result.outputs["report"].path.read_text(encoding="utf-8")
    Console(highlight=False, soft_wrap=True).print(page, markup=False)


def _require_no_regime(agent: PreferredAgent, regime: str) -> None:
    if agent is not PreferredAgent.VALIDATORS and regime != "all":
        raise ConfigError(
            f"--regime must be left out with --agent {agent.value}, but got {regime!r}; it labels critiques only"
        )
