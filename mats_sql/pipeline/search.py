"""`search`: an Optuna study over ORPO's beta, K and learning rate of one regime; maximises selector EX on validation.

Optuna's storage is the truth and MLflow its mirror: one nested run per trial, with the trial's own stages below it. A
trial regenerates nothing: its pairs are a prefix of the one pool.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mats_sql.agents import Validator
from mats_sql.config import Experiment, regime_label
from mats_sql.errors import TrainingError
from mats_sql.pipeline.assemble import Line
from mats_sql.pipeline.experiment import critique_pairs, lines, questions
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.replicates import seeds_of
from mats_sql.pipeline.results import evaluation, preferred_team
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import Labelling, labelling_of
from mats_sql.search import SearchResult, TrialResult, TrialRow, TrialSettings, run_search, search_scatter
from mats_sql.seeds import derive_seed
from mats_sql.tracking import Stage, StageKey, StageResult, StageRun, run_stage

TRIAL_KEY = StageKey("search-trial", 2)


def search_regime(workspace: Workspace, regime: str, trials: int | None) -> SearchResult:
    """Return the study's result for one regime with the experiment's first fixer; ``trials`` overrides the budget."""
    experiment = workspace.experiment
    settings = experiment.search
    if trials is not None:
        settings = settings.model_copy(update={"trials": trials})
    line, labelling = next(lines(experiment)), labelling_of(experiment, regime)
    name = regime_label(regime)
    validation = validation_ids(questions(workspace))
    result = run_search(
        settings,
        study_name=f"{experiment.name}-{name}-{line.critique.value}",
        storage=settings.storage or _storage(experiment),
        seed=derive_seed(experiment.seed, "search"),  # the same for every regime
        objective=lambda chosen, number: _trial(workspace, labelling, line, chosen, number),
        on_trial=lambda row: workspace.progress.note(f"  {name} {_line(row)}"),
        validation_questions=len(validation),
    )
    _report(workspace, name, result)
    return result


def with_trial(experiment: Experiment, chosen: TrialSettings) -> Experiment:
    """Return the experiment with one trial's beta, K and learning rate."""
    return experiment.model_copy(
        update={
            "orpo": experiment.orpo.model_copy(update={"beta": chosen.beta, "learning_rate": chosen.learning_rate}),
            "pairs": experiment.pairs.model_copy(update={"k": chosen.k}),
        }
    )


def _trial(workspace: Workspace, labelling: Labelling, line: Line, chosen: TrialSettings, number: int) -> TrialResult:
    stage = Stage(
        TRIAL_KEY,
        f"trial {number} {labelling.key}",
        {"beta": chosen.beta, "k": chosen.k, "learning_rate": chosen.learning_rate, "trial": number},
        tags={"regime": labelling.key, "trial": str(number)},
        reusable=False,
    )
    found: list[TrialResult] = []

    def compute(run: StageRun) -> None:
        own = workspace.within(with_trial(workspace.experiment, chosen), run)
        seeds = seeds_of(workspace.experiment)[0]
        _require_pairs(critique_pairs(own, labelling, line, seeds), labelling, chosen)
        team = preferred_team(own, labelling, line, seeds)
        metrics = evaluation(own, team, validation_only=True).metrics
        run.log_metrics(metrics)
        found.append(TrialResult(metrics["selector_ex"], {"oracle_pass_at_k": metrics["oracle_pass_at_k"]}))

    parent = workspace.command.run_id if workspace.command else None
    run_stage(workspace.store, stage, compute, parent=parent)
    return found[0]


def _require_pairs(built: StageResult, labelling: Labelling, chosen: TrialSettings) -> None:
    """Raise :class:`TrainingError` for a trial that would train no validator, and so measure the SFT team."""
    if not any(built.metrics[f"{validator.value}/training_pairs"] for validator in Validator):
        raise TrainingError(f"a trial needs pairs, but {labelling.key} gives none at K = {chosen.k}; raise search.k")


def _storage(experiment: Experiment) -> Path:
    folder = experiment.work_dir / "search"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{experiment.name}.journal"


def _line(row: TrialRow) -> str:
    settings = row.settings
    value = f"selector EX {100 * row.selector_ex:.2f}" if row.selector_ex is not None else f"failed: {row.reason}"
    return f"trial {row.number}: beta {settings.beta:.3g}, K {settings.k}, lr {settings.learning_rate:.3g} → {value}"


def _report(workspace: Workspace, regime: str, result: SearchResult) -> None:
    best = result.best
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Best of {len(result.trials)} trials for {regime}: {_line(best)}")
    console.print(result.notice)
    run = workspace.command
    if run is not None:
        run.log_metrics({f"{regime}/best_selector_ex": best.selector_ex or 0.0})
        run.tag(
            {
                f"best.{regime}.beta": f"{best.settings.beta:.6g}",
                f"best.{regime}.k": best.settings.k,
                f"best.{regime}.learning_rate": f"{best.settings.learning_rate:.6g}",
            }
        )
        run.log_figure(f"search_{regime}", search_scatter(result.trials))
