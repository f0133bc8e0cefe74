"""`search`: an Optuna study over ORPO's beta, K and learning rate of a regime; maximises selector EX on validation.

Optuna's storage is the truth and MLflow its mirror: one nested run per trial, with the trial's own stages below it.
What all trials share (SFT agents, pool, selector) is made once, before the first of them; a trial draws nothing again
but its team's answers on the validation split. ``search_workers`` has the processes that share the trials,
``search_report`` what comes at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mats_sql.agents import Validator
from mats_sql.config import Experiment, SearchSettings, regime_label
from mats_sql.digests import digest_json
from mats_sql.errors import StageStopped, TrainingError
from mats_sql.pipeline.assemble import Line, TeamModels, assemble, team_settings
from mats_sql.pipeline.evaluate import Blocks, read_candidates, selected_correct
from mats_sql.pipeline.experiment import critique_pairs, lines, pool, questions, scores
from mats_sql.pipeline.questions import validation_ids
from mats_sql.pipeline.replicates import seeds_of
from mats_sql.pipeline.results import evaluation, preferred_team, supervised_team
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import Labelling, labelling_of, replays_selector
from mats_sql.search import (
    SearchResult,
    StudyAddress,
    TrialResult,
    TrialRow,
    TrialSettings,
    TrialState,
    Watch,
    run_search,
)
from mats_sql.seeds import derive_random, derive_seed
from mats_sql.tracking import (
    ArtifactKind,
    Stage,
    StageKey,
    StageResult,
    StageRun,
    Version,
    register,
    registered_name,
    run_stage,
    tag_version,
)

TRIAL_KEY = StageKey("search-trial", 3)


@dataclass(frozen=True, slots=True)
class RegimeSearch:
    """The search of one regime: its study, and the line (the experiment's first fixer) that its teams are of."""

    label: str
    labelling: Labelling
    line: Line
    settings: SearchSettings
    address: StudyAddress
    own: TrialSettings | None

    @classmethod
    def of(cls, experiment: Experiment, regime: str, trials: int | None = None) -> RegimeSearch:
        """Return the search of a regime; ``trials`` overrides the budget. All regimes share space, seed and budget."""
        line, label = next(lines(experiment)), regime_label(regime)
        settings = experiment.search if trials is None else experiment.search.model_copy(update={"trials": trials})
        name = f"{experiment.name}-{label}-{line.critique.value}"
        address = StudyAddress(name, settings.storage or _journal(experiment), derive_seed(experiment.seed, "search"))
        return cls(label, labelling_of(experiment, regime), line, settings, address, own_settings(experiment))


def own_settings(experiment: Experiment) -> TrialSettings | None:
    """Return an experiment's own beta, K and learning rate, or None when its whole pool is no prefix of any K."""
    drawn = {experiment.rollout.plans, experiment.rollout.critiques}
    k = experiment.pairs.k or (drawn.pop() if len(drawn) == 1 else None)
    return None if k is None else TrialSettings(experiment.orpo.beta, k, experiment.orpo.learning_rate)


def with_trial(experiment: Experiment, chosen: TrialSettings) -> Experiment:
    """Return the experiment with one trial's beta, K and learning rate."""
    return experiment.model_copy(
        update={
            "orpo": experiment.orpo.model_copy(update={"beta": chosen.beta, "learning_rate": chosen.learning_rate}),
            "pairs": experiment.pairs.model_copy(update={"k": chosen.k}),
            "tuned": {},  # a trial is of one regime, and these are its settings
        }
    )


def prepare_shared(workspace: Workspace, search: RegimeSearch) -> str:
    """Make what all trials share, and return a digest of it: a study's trials are comparable only under one such."""
    experiment, line = workspace.experiment, search.line
    seeds = seeds_of(experiment)[0]
    shared = {
        **supervised_team(workspace, line, seeds).agents(),
        "questions": questions(workspace),
        "pool": pool(workspace, line, seeds),
    }
    if replays_selector(search.labelling.regime, experiment.policy):
        known = scores(workspace, line, seeds)
        shared |= {} if known is None else {"scores": known}
    return digest_json(
        {
            "inputs": {role: artifact.digest for role, artifact in shared.items()},
            "team": team_settings(experiment).lasting(),
            "orpo": experiment.orpo.model_dump(mode="json", exclude={"beta", "learning_rate"}),
            "pairs": experiment.pairs.model_dump(mode="json", exclude={"k"}),
            "seed": [experiment.seed, experiment.seeds[0]],
            **experiment.training.identity(),
        }
    )


def run_trials(workspace: Workspace, search: RegimeSearch) -> SearchResult:
    """Run the trials of a regime that are still to run, beside other processes that do; return the whole budget's."""
    validation = validation_ids(questions(workspace))
    return run_search(
        search.settings,
        search.address,
        objective=lambda chosen, number, watch: _Trial(workspace, search, chosen, number).run(watch),
        own=search.own,
        shared=prepare_shared(workspace, search),
        on_trial=lambda row: workspace.progress.note(f"  {search.label} {trial_line(row)}"),
        validation_questions=len(validation),
    )


def trial_team(workspace: Workspace, search: RegimeSearch, chosen: TrialSettings) -> tuple[Workspace, TeamModels]:
    """Return the team of some settings, trained now where it is not yet, and the view of the experiment that has it."""
    view = workspace.within(with_trial(workspace.experiment, chosen), workspace.command)
    return view, preferred_team(view, search.labelling, search.line, seeds_of(workspace.experiment)[0])


def team_version(workspace: Workspace, team: TeamModels) -> Version:
    """Return a team's version in the registry."""
    built = assemble(workspace, team).outputs["team"]
    name = registered_name(workspace.experiment.name, ArtifactKind.TEAM, "team")
    return register(workspace.store, built, name, team.tags())


def trial_line(row: TrialRow) -> str:
    """Return a trial in one line, its settings rounded."""
    settings = row.settings
    value = f"selector EX {100 * row.selector_ex:.2f}" if row.selector_ex is not None else f"failed: {row.reason}"
    if row.state is TrialState.PRUNED:
        value += f" on {row.diagnostics.get('questions', 0):.0f} questions: pruned"
    return f"trial {row.number}: beta {settings.beta:.3g}, K {settings.k}, lr {settings.learning_rate:.3g} → {value}"


@dataclass(frozen=True, slots=True)
class _Trial:
    workspace: Workspace
    search: RegimeSearch
    chosen: TrialSettings
    number: int

    def run(self, watch: Watch) -> TrialResult:
        """Train the trial's validators and evaluate its team on the validation split, in an MLflow run of its own."""
        key, chosen = self.search.labelling.key, self.chosen
        stage = Stage(
            TRIAL_KEY,
            f"trial {self.number} {key}",
            {
                "study": self.search.address.name,
                "trial": self.number,
                "beta": chosen.beta,
                "k": chosen.k,
                "learning_rate": chosen.learning_rate,
            },
            tags={"regime": key, "trial": str(self.number)},
            reusable=False,
        )
        found: list[TrialResult] = []
        parent = self.workspace.command.run_id if self.workspace.command else None
        run_stage(self.workspace.store, stage, lambda run: found.append(self._result(run, watch)), parent=parent)
        return found[0]

    def _result(self, run: StageRun, watch: Watch) -> TrialResult:
        view = self.workspace.within(with_trial(self.workspace.experiment, self.chosen), run)
        seeds = seeds_of(view.experiment)[0]
        _require_pairs(critique_pairs(view, self.search.labelling, self.search.line, seeds), self)
        team = preferred_team(view, self.search.labelling, self.search.line, seeds)
        result = self._evaluated(view, team, watch)
        run.tag({"pruned": f"after {result.diagnostics['questions']:.0f} questions"} if result.pruned else {})
        tag_version(view.store, team_version(view, team), {**team.preference, **self._tags(result)})
        return result

    def _evaluated(self, view: Workspace, team: TeamModels, watch: Watch) -> TrialResult:
        heard: dict[int, float] = {}

        def listen(block: Mapping[int, float]) -> bool:
            heard.update(block)
            return watch.report(block)

        assert view.command is not None
        try:
            result = evaluation(view, team, validation_only=True, blocks=self._blocks(view, listen))
        except StageStopped:
            mean = sum(heard.values()) / len(heard)
            view.command.log_metrics({"selector_ex_so_far": mean, "questions": len(heard)})
            return TrialResult(mean, {"questions": float(len(heard))}, pruned=True)
        if self.search.settings.pruner != "none":  # an evaluation that was reused has told nothing yet
            watch.report(selected_correct(read_candidates(result.outputs["candidates"])))
        view.command.log_metrics(result.metrics)
        return TrialResult(result.metrics["selector_ex"], {"oracle_pass_at_k": result.metrics["oracle_pass_at_k"]})

    def _blocks(self, view: Workspace, listen: Callable[[Mapping[int, float]], bool]) -> Blocks | None:
        """Return the blocks of questions, each trial's in an order of its own, or None when nothing is pruned."""
        settings = self.search.settings
        if settings.pruner == "none":
            return None
        order = sorted(validation_ids(questions(view)))
        derive_random(view.experiment.seed, "search", "order", self.number).shuffle(order)
        return Blocks(order, settings.block_questions, listen)

    def _tags(self, result: TrialResult) -> dict[str, str]:
        told = "pruned" if result.pruned else f"{result.selector_ex:.6f}"
        return {"study": self.search.address.name, "trial": str(self.number), "validation_selector_ex": told}


def _require_pairs(built: StageResult, trial: _Trial) -> None:
    """Raise :class:`TrainingError` for a trial that would train no validator, and so measure the SFT team."""
    if not any(built.metrics[f"{validator.value}/training_pairs"] for validator in Validator):
        key, k = trial.search.labelling.key, trial.chosen.k
        raise TrainingError(f"a trial needs pairs, but {key} gives none at K = {k}; raise search.k")


def _journal(experiment: Experiment) -> Path:
    return experiment.work_dir / "search" / f"{experiment.name}.journal"
