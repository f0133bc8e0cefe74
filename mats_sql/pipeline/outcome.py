"""What an experiment came to: every team evaluated, every ladder, every gap. Asked for by `main` and `report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from mats_sql.agents import Validator
from mats_sql.choices import Balance
from mats_sql.config import SFT_TEAMS, Experiment
from mats_sql.evaluation import question_sets
from mats_sql.evaluation.comparison import Comparisons, read_comparisons
from mats_sql.evaluation.diagnosis import Ladder, read_ladder
from mats_sql.evaluation.report import EvaluatedTeam, PairSet, ResultTable, RewardAccuracy, pair_table, reward_table
from mats_sql.parquet import read_records
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.ahead import Step, all_but_a_lone_last, do_ahead
from mats_sql.pipeline.best_settings import best_settings
from mats_sql.pipeline.evaluate import Evaluated, by_family, read_candidates
from mats_sql.pipeline.ladder import read_perfect_gate
from mats_sql.pipeline.protocol import require_protocol
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.replicates import seeds_of, supervised_seeds
from mats_sql.pipeline.tuning import search_first
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import PreferencePair, labellings
from mats_sql.tracking import Artifact

PERFECT_GATE = "PERFECT-GATE (bound)"
"""The SFT team with its own critiques and a gate that fixes exactly the wrong plans: it reads gold, so is no team."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every team, gap and ladder of an experiment.

    ``bounds`` read gold; ``learned`` is on what validators trained, ``settings`` on the setting that each regime had.
    """

    questions: Artifact
    evaluated: Evaluated
    teams: Sequence[EvaluatedTeam]
    bounds: Sequence[EvaluatedTeam]
    gaps: Sequence[Comparisons]
    ladders: Sequence[Ladder]
    learned: Sequence[ResultTable]
    settings: ResultTable

    @property
    def validation(self) -> frozenset[int]:
        """The ids of the validation split."""
        return validation_ids(self.questions)

    @property
    def first_seeds(self) -> list[EvaluatedTeam]:
        """Each family's first seed."""
        first = {members[0][0].label for members in by_family(self.evaluated).values()}
        return [team for team in self.teams if team.name in first]

    @property
    def question_ids(self) -> frozenset[int]:
        """The ids of all usable dev questions."""
        return question_sets(self.teams[0].question_ids, self.validation)[0].question_ids


def gather(workspace: Workspace) -> Outcome:
    """Return what the experiment came to, each regime at its best setting; what is missing is computed.

    Raises :class:`ConfigError`, before anything is computed, for another protocol than the experiment's.
    """
    require_protocol(workspace.store, workspace.experiment, steps.questions(workspace))
    _agents_ahead(workspace)
    search_first(workspace)
    best = best_settings(workspace.experiment, workspace.store)
    workspace.experiment = best.experiment
    for told in best.lines():
        workspace.progress.note(told)
    _teams_ahead(workspace)
    lines = list(steps.lines(workspace.experiment))
    evaluated = [(team, results.evaluation(workspace, team)) for team in results.teams(workspace)]
    ladders = [(line, results.supervised_ladder(workspace, line)) for line in lines]
    compared = [results.regime_comparison(workspace, line) for line in lines]
    return Outcome(
        steps.questions(workspace),
        evaluated,
        [EvaluatedTeam(team.label, read_candidates(result.outputs["candidates"])) for team, result in evaluated],
        [EvaluatedTeam(f"{PERFECT_GATE}, {line.label}", read_perfect_gate(result)) for line, result in ladders],
        [read_comparisons(result.outputs["comparisons"].path) for result in compared if result is not None],
        [read_ladder(result.outputs["ladder"].path) for _, result in ladders],
        [pair_table(_pair_sets(workspace)), reward_table(_rewards(workspace))],
        best.table(),
    )


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
    evaluations = [partial(results.built_evaluation, build=build) for build in rest]
    do_ahead(workspace, all_but_a_lone_last(workspace, [*ladders, *evaluations]))


def _builders(experiment: Experiment, names: Sequence[str]) -> list[results.TeamBuilder]:
    return [build for name in names for build in results.team_builders(experiment, name)]


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
        built = steps.labelled_pairs(workspace, labelling, line, first).outputs
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
