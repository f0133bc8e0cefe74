"""`--dry-run`: which stages would run and which finished ones would be reused. No run is made.

The steps of the experiment are asked for in a workspace that looks for each stage's finished run and computes nothing.
A stage that reads what is not there yet has no fingerprint, so it cannot be said whether a finished run would be reused
once its inputs are there: it is counted as *unknown*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from rich.console import Console

from mats_sql.config import Experiment
from mats_sql.evaluation.comparison import power_notice
from mats_sql.pipeline import experiment as steps
from mats_sql.pipeline import results
from mats_sql.pipeline.best_settings import best_settings
from mats_sql.pipeline.progress import Progress
from mats_sql.pipeline.protocol import protocol_of, require_protocol
from mats_sql.pipeline.questions import DEV, usable_ids
from mats_sql.pipeline.search import RegimeSearch, prepare_shared
from mats_sql.pipeline.tuning import regimes_to_search
from mats_sql.pipeline.workspace import Workspace, plain
from mats_sql.search import TrialState, known_trials
from mats_sql.tracking import (
    Artifact,
    ArtifactKind,
    MeasuredCost,
    Stage,
    StageKey,
    StageResult,
    StageRun,
    connect,
    earlier_reports,
    finished_result,
    latest_cost,
    looks_so_far,
)

_UNMADE = "not made yet: "


class Foresight(StrEnum):
    """What can be said of a stage before anything runs."""

    REUSED = "reused"
    RUNS = "runs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage that a command would ask for.

    ``run_id`` is the finished run that would be reused; ``cost`` what the last run of its kind took, if it is not.
    """

    title: str
    foresight: Foresight
    run_id: str = ""
    cost: MeasuredCost | None = None

    @property
    def line(self) -> str:
        """The stage in one line."""
        run = f"  run {self.run_id[:8]}" if self.run_id else ""
        cost = f"  {self.cost.seconds:,.0f} s in run {self.cost.run_id[:8]}" if self.cost else ""
        return f"{self.foresight.value:<8} {self.title}{run}{cost}"


class _Outputs(dict[str, Artifact]):
    """The outputs of a stage that has not run: whichever name is asked for, there is nothing at its path."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__()
        self._fingerprint = fingerprint

    def __missing__(self, name: str) -> Artifact:
        digest = f"{_UNMADE}{name} of {self._fingerprint}"
        return Artifact(name, ArtifactKind.REPORT, Path("not-made-yet"), digest, run_id="")


@dataclass(slots=True)
class PlanningWorkspace(Workspace):
    """A view of an experiment where stages are looked up and never run; ``planned`` are those asked for, in order."""

    planned: list[PlannedStage] = field(default_factory=list)

    @property
    def writes(self) -> bool:
        """Nothing is written."""
        return False

    def within(self, experiment: Experiment, command: StageRun | None) -> Workspace:
        """Return a view with another experiment; nothing is judged, so no worker starts."""
        return replace(self, experiment=experiment, command=command)

    def run(
        self,
        key: StageKey,
        *,
        title: str,
        settings: Mapping[str, object],
        inputs: Mapping[str, Artifact],
        compute: Callable[[StageRun], None],  # noqa: ARG002 - never called
        tags: Mapping[str, str] | None = None,
        parameters: Mapping[str, object] | None = None,  # noqa: ARG002 - shown in no run
    ) -> StageResult:
        """Look a stage up; an unfinished one has outputs that are not there."""
        stage = Stage(key, title, {name: plain(value) for name, value in settings.items()}, inputs, tags or {})
        if stage.fingerprint not in self._results:
            unknown = any(_is_unmade(artifact) for artifact in inputs.values())
            found = None if unknown else finished_result(self.store, stage)
            foresight = Foresight.UNKNOWN if unknown else Foresight.REUSED if found else Foresight.RUNS
            cost = None if found else latest_cost(self.store, stage)
            self.planned.append(PlannedStage(title, foresight, found.run_id if found else "", cost))
            self._results[stage.fingerprint] = found or StageResult("", _Outputs(stage.fingerprint), {}, reused=False)
        return self._results[stage.fingerprint]


def plan_search(experiment: Experiment, regimes: Sequence[str], trials: int | None = None) -> list[PlannedStage]:
    """Print, and return, the stages that the trials share; print how many trials of each regime remain."""
    searches = [RegimeSearch.of(experiment, regime, trials) for regime in regimes]
    told = [_trials_text(search) for search in searches]  # a storage that does not open is said first
    with _planning(experiment) as workspace:
        for search in searches:
            prepare_shared(workspace, search)
        _print("What all trials share:", workspace.planned)
    console = _console()
    console.print("\nTrials:")
    for text in told:
        console.print(f"  {text}", markup=False)
    console.print(
        "  A trial runs pairs (once per K), 2 orpo, assemble, and evaluate on validation; it reuses those that equal "
        "an earlier trial's or experiment's, which only the settings drawn will show."
    )
    return workspace.planned


def plan_experiment(experiment: Experiment) -> list[PlannedStage]:
    """Print, and return, the stages that `main` would ask for, each regime at its best setting.

    Raises :class:`ConfigError` for another protocol than that of the experiment's reports, as `main` would.
    """
    if experiment.main.search and (regimes := regimes_to_search(experiment)):
        plan_search(experiment, regimes)
        _console().print("\nThen the experiment, each regime at its best setting; below, those known by now.\n")
    with _planning(experiment) as workspace:
        return _plan_outcome(workspace)


def plan_report(experiment: Experiment) -> list[PlannedStage]:
    """Print, and return, the stages that `report` would ask for; print which look it would be and what it could see."""
    with _planning(experiment) as workspace:
        planned = _plan_outcome(workspace)
        for line in _report_lines(workspace):
            _console().print(line, markup=False)
        return planned


def _plan_outcome(workspace: PlanningWorkspace) -> list[PlannedStage]:
    best = best_settings(workspace.experiment, workspace.store)
    workspace.experiment = best.experiment
    if not _is_unmade(steps.questions(workspace)):
        require_protocol(workspace.store, workspace.experiment, steps.questions(workspace))
    for team in results.teams(workspace):
        results.evaluation(workspace, team)
    for line in steps.lines(workspace.experiment):
        results.supervised_ladder(workspace, line)
        results.regime_comparison(workspace, line)
    for told in best.lines():
        _console().print(told, markup=False)
    _print("The experiment's stages:", workspace.planned)
    return workspace.planned


def _report_lines(workspace: Workspace) -> Iterator[str]:
    earlier = len(earlier_reports(workspace.store))
    told = f", after {earlier} earlier report{'s' if earlier > 1 else ''}" if earlier else ""
    yield f"\nThe report would be look number {looks_so_far(workspace.store) + 1} at the final set{told}."
    questions = steps.questions(workspace)
    if not _is_unmade(questions):
        yield f"Protocol: {protocol_of(workspace.experiment, questions).digest}"
        yield power_notice(len(usable_ids(questions, DEV)), seeds=len(workspace.experiment.seeds))


def _is_unmade(artifact: Artifact) -> bool:
    return artifact.digest.startswith(_UNMADE)


@contextmanager
def _planning(experiment: Experiment) -> Iterator[PlanningWorkspace]:
    planning = PlanningWorkspace(experiment, connect(experiment.name, experiment.work_dir), Progress())
    with planning:
        yield planning


def _trials_text(search: RegimeSearch) -> str:
    rows = known_trials(search.settings, search.address)
    ended = [sum(row.state is state for row in rows) for state in TrialState]
    counts = ", ".join(f"{count} {state.value}" for count, state in zip(ended, TrialState, strict=True) if count)
    budget = search.settings.trials
    return f"{search.label}: {budget - len(rows)} of {budget} remain" + (f" ({counts})" if counts else "")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _print(heading: str, planned: Sequence[PlannedStage]) -> None:
    console = _console()
    console.print(heading)
    for stage in planned:
        console.print(f"  {stage.line}", markup=False)
    counts = {foresight: sum(stage.foresight is foresight for stage in planned) for foresight in Foresight}
    console.print("  " + ", ".join(f"{count} {foresight.value}" for foresight, count in counts.items() if count))
    if counts[Foresight.UNKNOWN]:
        console.print("  unknown: it reads what is not made yet; it runs unless that comes out as in a finished run")
    for line in _cost_lines([stage for stage in planned if stage.foresight is not Foresight.REUSED]):
        console.print(f"  {line}", markup=False)


def _cost_lines(coming: Sequence[PlannedStage]) -> Iterator[str]:
    """Say what stages would cost in all, were each as its kind's last run in this store; nothing where none ran."""
    costs = [stage.cost for stage in coming if stage.cost is not None]
    if not costs:
        return
    tokens = sum(cost.tokens or 0 for cost in costs)
    logged = f"{tokens:,.0f} tokens (only rollouts log them), " if tokens else ""
    minutes, size = sum(cost.seconds for cost in costs) / 60, sum(cost.bytes for cost in costs) / 1e9
    yield (
        f"{minutes:,.1f} minutes of stages, one after the other, {logged}{size:.2f} GB in the store: what the last "
        "runs of these kinds took here, not scaled to other sizes"
    )
    if len(costs) < len(coming):
        yield f"{len(coming) - len(costs)} of {len(coming)} stages have no finished run of their kind here"
