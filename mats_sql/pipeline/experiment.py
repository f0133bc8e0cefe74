"""The order of the whole experiment, on one page.

    questions ─► planner ─► plans ─► validators, fixer ─► pool ─► selector
                                                           │
                                                           └─► pairs(regime) ─► ORPO validators ─► team ─► evaluation
                                                                                                     comparison ◄─┘

Each function is one step. It asks for the steps that it needs, then calls the stage that computes it; a finished stage
is reused, so any step can be asked for alone. Only this page knows the order: a stage (a module of its own) takes the
outputs of others and asks for nothing. A new stage is a module beside this page and a step on it; a new agent is an SFT
step here and a folder of a team (``assemble``, ``mats_sql/agents/names.py``); a new regime is one function in
``mats_sql/preference/regimes.py``, or one of the user's own that the config names. Beside each regime its controls are
trained: INDEP on balanced verdicts, and INDEP matched to the regime.

Iteration 1 has the SFT fixer. In each later one the fixer before it is trained with ORPO on the pool before it, the
pool is drawn again with the new fixer, and the validators are trained again, from their SFT checkpoints, on that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from mats_sql.agents import FIXER, PLANNER, Validator, validator_name
from mats_sql.choices import Balance, FixerCritique, Regime
from mats_sql.config import Experiment, is_own
from mats_sql.errors import ConfigError
from mats_sql.pipeline.assemble import Line, TeamModels, assemble
from mats_sql.pipeline.balance import balance_pairs
from mats_sql.pipeline.compare import Control, Side, compare
from mats_sql.pipeline.diagnose import RegimeRuns, Subject, diagnose
from mats_sql.pipeline.evaluate import evaluate
from mats_sql.pipeline.orpo import PreferenceCourse, orpo
from mats_sql.pipeline.pairs import pair_critiques, pair_fixes, pair_plans
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.rollout import rollout_plans, rollout_pool, rollout_scores
from mats_sql.pipeline.sft import sft_fixer, sft_planner, sft_selector, sft_validator
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import (
    Labelling,
    balanced_control,
    labelling_of,
    labellings,
    labellings_named,
    matched_control,
    replays_selector,
    treatments,
)
from mats_sql.rollout import needs_scores
from mats_sql.tracking import Artifact, StageResult

PLANNER_ONLY, SFT_TEAM = "PLANNER-only", "SFT-VF"


# ---- data


def questions(workspace: Workspace) -> Artifact:
    """Return the questions table: what is usable, what is validation."""
    return prepare(workspace).outputs["questions"]


# ---- supervised agents, and what they write


def planner(workspace: Workspace, without_fold: int | None = None) -> Artifact:
    """Return the SFT planner, or one that never saw a fold of the train questions."""
    return sft_planner(workspace, questions(workspace), without_fold=without_fold).outputs["model"]


def plans(workspace: Workspace) -> Artifact:
    """Return the judged plans of every train question, each by a planner that may not have seen it."""
    folds = workspace.experiment.rollout.folds
    planners = [planner(workspace, fold if folds > 1 else None) for fold in range(folds)]
    return rollout_plans(workspace, questions(workspace), planners).outputs["plans"]


def supervised_validator(workspace: Workspace, validator: Validator) -> Artifact:
    """Return an SFT validator."""
    return sft_validator(workspace, validator, questions(workspace), plans(workspace)).outputs["model"]


def supervised_fixer(workspace: Workspace, mode: FixerCritique) -> Artifact:
    """Return the SFT fixer of one critique mode."""
    return sft_fixer(workspace, mode, questions(workspace), plans(workspace)).outputs["model"]


# ---- the pool of each line, and who learns from it


def lines(experiment: Experiment) -> Iterator[Line]:
    """Yield every line of an experiment: each fixer in each iteration."""
    for mode, iteration in product(experiment.fixers, range(1, experiment.iterations + 1)):
        yield Line(mode, iteration)


def fixer(workspace: Workspace, line: Line) -> Artifact:
    """Return the line's fixer."""
    if line.iteration == 1:
        return supervised_fixer(workspace, line.critique)
    before = Line(line.critique, line.iteration - 1)
    built = fixer_pairs(workspace, before).outputs
    mode, tags = workspace.experiment.pairs.fixer, line.tags()
    course = PreferenceCourse(
        FIXER, fixer(workspace, before), built[FIXER], built[f"{FIXER}_evaluation"], mode, 0, tags
    )
    return orpo(workspace, course).outputs["model"]


def pool(workspace: Workspace, line: Line) -> Artifact:
    """Return the pool that the line's fixer and the SFT validators draw."""
    validators = {validator: supervised_validator(workspace, validator) for validator in Validator}
    drawn = rollout_pool(
        workspace, questions(workspace), plans(workspace), validators, fixer(workspace, line), label=line.label
    )
    return drawn.outputs["pool"]


def selector(workspace: Workspace, line: Line) -> Artifact:
    """Return the selector trained on the line's pool."""
    return sft_selector(workspace, questions(workspace), pool(workspace, line)).outputs["model"]


def scores(workspace: Workspace, line: Line) -> Artifact | None:
    """Return the selector's scores of the line's pool, where the policy leaves it a choice between plan and fix."""
    if not needs_scores(workspace.experiment.policy):
        return None
    drawn, chosen = pool(workspace, line), selector(workspace, line)
    return rollout_scores(workspace, questions(workspace), drawn, chosen).outputs["scores"]


# ---- preference pairs and ORPO


def critique_pairs(workspace: Workspace, labelling: Labelling, line: Line) -> StageResult:
    """Return both validators' training pairs (`select`, `condition`) under a regime, balanced where it is asked."""
    built = regime_pairs(workspace, labelling.regime, line)
    if labelling.balance is Balance.NONE:
        return built
    other = labelling.matched_to
    target = None if other is None else critique_pairs(workspace, other, line).outputs
    return balance_pairs(workspace, labelling, built.outputs, target)


def regime_pairs(workspace: Workspace, regime: str, line: Line) -> StageResult:
    """Return both validators' pairs under a regime, all of them, with the held-out ones (`…_evaluation`)."""
    known = scores(workspace, line) if replays_selector(regime, workspace.experiment.policy) else None
    return pair_critiques(workspace, questions(workspace), pool(workspace, line), regime, known)


def fixer_pairs(workspace: Workspace, line: Line) -> StageResult:
    """Return the fixer's pairs from the line's pool: what the next iteration's fixer learns from."""
    return pair_fixes(workspace, questions(workspace), pool(workspace, line))


def planner_pairs(workspace: Workspace) -> StageResult:
    """Return pairs of a correct against a wrong plan of every train question that has both."""
    return pair_plans(workspace, questions(workspace), plans(workspace))


def preferred_validator(
    workspace: Workspace, validator: Validator, labelling: Labelling, line: Line, seed: int
) -> StageResult:
    """Return a validator (`model`) trained under a regime or a control."""
    course = PreferenceCourse(
        validator_name(validator),
        supervised_validator(workspace, validator),
        critique_pairs(workspace, labelling, line).outputs[validator.value],
        regime_pairs(workspace, labelling.regime, line).outputs[f"{validator.value}_evaluation"],
        labelling.key,
        seed,
        line.tags(),
    )
    return orpo(workspace, course)


def preferred_planner(workspace: Workspace, seed: int) -> StageResult:
    """Return the SFT planner (`model`) after ORPO on its own plans, correct against wrong."""
    experiment = workspace.experiment
    built = planner_pairs(workspace).outputs
    tags = {"k": str(experiment.pairs.k or experiment.rollout.plans)}
    base, evaluation = planner(workspace), built[f"{PLANNER}_evaluation"]
    return orpo(workspace, PreferenceCourse(PLANNER, base, built[PLANNER], evaluation, "execution", seed, tags))


# ---- teams


def planner_team(workspace: Workspace, line: Line) -> TeamModels:
    """Return the team of the SFT planner and the selector alone."""
    return TeamModels(PLANNER_ONLY, planner(workspace), selector(workspace, line), {}, None)


def supervised_team(workspace: Workspace, line: Line) -> TeamModels:
    """Return the team of SFT agents, before any preference training."""
    validators = {validator: supervised_validator(workspace, validator) for validator in Validator}
    return _team(workspace, SFT_TEAM, validators, "sft", line)


def preferred_team(workspace: Workspace, labelling: Labelling, line: Line, seed: int) -> TeamModels:
    """Return the team whose validators were trained under a regime or a control; all else is the SFT team's."""
    validators = {
        validator: preferred_validator(workspace, validator, labelling, line, seed).outputs["model"]
        for validator in Validator
    }
    return _team(workspace, f"ORPO {labelling.name}", validators, labelling.key, line, seed)


def _team(
    workspace: Workspace, name: str, validators: Mapping[Validator, Artifact], regime: str, line: Line, seed: int = 0
) -> TeamModels:
    chosen = selector(workspace, line)
    return TeamModels(name, planner(workspace), chosen, validators, fixer(workspace, line), regime, line, seed)


def teams(workspace: Workspace, name: str = "all") -> Iterator[TeamModels]:
    """Yield the experiment's teams of that name: ``planner``, ``sft``, a regime, a control, or ``all``.

    Per fixer and iteration there is one SFT team and one team of each regime, control and seed. Raises
    :class:`ConfigError` for any other name.
    """
    experiment = workspace.experiment
    known = (*team_names(experiment), "all")
    if name not in known and not is_own(name):
        raise ConfigError(f"a team must be one of {', '.join(known)}, but got {name!r}; choose one")
    if name in (PLANNER, "all"):
        yield planner_team(workspace, next(lines(experiment)))
    for line in lines(experiment):
        if name in ("sft", "all"):
            yield supervised_team(workspace, line)
        trained = () if name in (PLANNER, "sft") else labellings_named(experiment, name)
        for labelling, seed in product(trained, experiment.seeds):
            yield preferred_team(workspace, labelling, line, seed)


def team_names(experiment: Experiment) -> tuple[str, ...]:
    """Return the names that :func:`teams` knows: the SFT teams', every built-in regime's, and the controls'."""
    return tuple(dict.fromkeys([PLANNER, "sft", *Regime, *(one.key for one in labellings(experiment))]))


# ---- what comes of them


def evaluation(workspace: Workspace, team: TeamModels, *, validation_only: bool = False) -> StageResult:
    """Return a team's judged candidates on all usable dev questions, or on the validation split."""
    built = assemble(workspace, team).outputs["team"]
    return evaluate(workspace, questions(workspace), built, team, validation_only=validation_only)


def comparison(
    workspace: Workspace, baseline: Side, treated: Sequence[Side], controls: Sequence[Control] = ()
) -> StageResult:
    """Return the paired comparison of any sides."""
    return compare(workspace, questions(workspace), baseline, treated, controls)


def regime_comparison(workspace: Workspace, line: Line) -> StageResult | None:
    """Return the gaps of every other regime over INDEP and over its controls, or None without INDEP."""
    others = treatments(workspace.experiment)
    if not others:
        return None
    baseline = regime_side(workspace, labelling_of(workspace.experiment, Regime.INDEP), line)
    sides = [regime_side(workspace, other, line) for other in others]
    return comparison(workspace, baseline, sides, regime_controls(workspace, line))


def regime_controls(workspace: Workspace, line: Line) -> list[Control]:
    """Return what else each regime is compared with: INDEP on balanced verdicts, and INDEP matched to the regime."""
    experiment = workspace.experiment
    found: dict[str, dict[str, Side]] = {}
    for other in treatments(experiment):
        controls = {"balanced": balanced_control(experiment), "matched": matched_control(experiment, other)}
        for kind, control in controls.items():
            if control is not None:
                name = regime_side(workspace, other, line).name
                found.setdefault(f"{kind} INDEP", {})[name] = regime_side(workspace, control, line)
    return [Control(name, sides) for name, sides in found.items()]


def regime_side(workspace: Workspace, labelling: Labelling, line: Line) -> Side:
    """Return the teams of every seed that learned from a labelling as one side of a comparison."""
    evaluations = [
        evaluation(workspace, preferred_team(workspace, labelling, line, seed)).outputs["candidates"]
        for seed in workspace.experiment.seeds
    ]
    return Side(f"{labelling.name} ({line.label})", evaluations)


def diagnosis(workspace: Workspace, line: Line) -> StageResult:
    """Return the diagnosis of a line's pool and of the teams trained on it."""
    compared = regime_comparison(workspace, line)
    subject = Subject(
        line,
        questions(workspace),
        pool(workspace, line),
        fixer(workspace, line),
        scores(workspace, line),
        {regime: regime_runs(workspace, regime, line) for regime in workspace.experiment.regimes},
        compared.outputs["comparisons"] if compared else None,
    )
    return diagnose(workspace, subject)


def regime_runs(workspace: Workspace, regime: str, line: Line) -> RegimeRuns:
    """Return a regime's teams of every seed, and the ORPO runs of the first seed's validators."""
    seed, labelling = workspace.experiment.seeds[0], labelling_of(workspace.experiment, regime)
    trained = {validator: preferred_validator(workspace, validator, labelling, line, seed) for validator in Validator}
    return RegimeRuns(regime_side(workspace, labelling, line), trained)
