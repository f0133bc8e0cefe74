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

``Seeds`` say which replicate is meant; a step that does not depend on one of them is the same step for all of its
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from mats_sql.agents import FIXER, PLANNER, Validator, validator_name
from mats_sql.choices import Balance, FixerCritique, Regime, SeedsVary
from mats_sql.config import SFT_TEAMS, Experiment, TeamMembers, is_own, regime_label
from mats_sql.errors import ConfigError
from mats_sql.pipeline.assemble import Line, TeamModels, assemble
from mats_sql.pipeline.balance import balance_pairs
from mats_sql.pipeline.compare import Control, Side, compare
from mats_sql.pipeline.diagnose import RegimeRuns, Subject, diagnose
from mats_sql.pipeline.evaluate import evaluate
from mats_sql.pipeline.ladder import ladder as climb_ladder
from mats_sql.pipeline.orpo import PreferenceCourse, orpo
from mats_sql.pipeline.pairs import pair_critiques, pair_fixes, pair_plans
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.replicates import Seeds, seeds_of, supervised_seeds
from mats_sql.pipeline.rollout import PoolOrigin, rollout_plans, rollout_pool, rollout_scores
from mats_sql.pipeline.sft import base_model, sft_fixer, sft_planner, sft_selector, sft_validator
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

PLANNER_ONLY, NO_FIXER, SFT_TEAM = "PLANNER-only", "VALIDATORS-no-fixer", "SFT-VF"


# ---- data


def questions(workspace: Workspace) -> Artifact:
    """Return the questions table: what is usable, what is validation."""
    return prepare(workspace).outputs["questions"]


# ---- supervised agents, and what they write


def planner(workspace: Workspace, seeds: Seeds, without_fold: int | None = None) -> Artifact:
    """Return the SFT planner, or one that never saw a fold of the train questions."""
    return sft_planner(workspace, questions(workspace), seed=seeds.sft, without_fold=without_fold).outputs["model"]


def plans(workspace: Workspace, seeds: Seeds) -> Artifact:
    """Return the judged plans of every train question, each by a planner that may not have seen it."""
    folds = workspace.experiment.rollout.folds
    planners = [planner(workspace, seeds, fold if folds > 1 else None) for fold in range(folds)]
    return rollout_plans(workspace, questions(workspace), planners, seed=seeds.pool).outputs["plans"]


def supervised_validator(workspace: Workspace, validator: Validator, seeds: Seeds) -> Artifact:
    """Return an SFT validator."""
    learnt = plans(workspace, seeds.supervised)
    return sft_validator(workspace, validator, questions(workspace), learnt, seed=seeds.sft).outputs["model"]


def supervised_fixer(workspace: Workspace, mode: FixerCritique, seeds: Seeds) -> Artifact:
    """Return the SFT fixer of one critique mode."""
    learnt = plans(workspace, seeds.supervised)
    return sft_fixer(workspace, mode, questions(workspace), learnt, seed=seeds.sft).outputs["model"]


def supervised_validators(workspace: Workspace, seeds: Seeds) -> dict[Validator, Artifact]:
    """Return both SFT validators."""
    return {validator: supervised_validator(workspace, validator, seeds) for validator in Validator}


# ---- the pool of each line, and who learns from it


def lines(experiment: Experiment) -> Iterator[Line]:
    """Yield every line of an experiment: each fixer in each iteration."""
    for mode, iteration in product(experiment.fixers, range(1, experiment.iterations + 1)):
        yield Line(mode, iteration)


def fixer(workspace: Workspace, line: Line, seeds: Seeds) -> Artifact:
    """Return the line's own fixer, which draws its pool."""
    if line.iteration == 1:
        return supervised_fixer(workspace, line.critique, seeds)
    before = Line(line.critique, line.iteration - 1)
    return preferred_fixer(workspace, before, seeds.drawn).outputs["model"]


def pool(workspace: Workspace, line: Line, seeds: Seeds) -> Artifact:
    """Return the pool that the line's fixer and the SFT validators draw."""
    origin = PoolOrigin(plans(workspace, seeds), supervised_validators(workspace, seeds), fixer(workspace, line, seeds))
    drawn = rollout_pool(workspace, questions(workspace), origin, label=line.label, seed=seeds.pool)
    return drawn.outputs["pool"]


def selector(workspace: Workspace, line: Line, seeds: Seeds) -> Artifact:
    """Return the selector: an SFT agent, so it learns from the line's pool of the SFT seed."""
    learnt = pool(workspace, line, seeds.supervised)
    return sft_selector(workspace, questions(workspace), learnt, seed=seeds.sft).outputs["model"]


def scores(workspace: Workspace, line: Line, seeds: Seeds) -> Artifact | None:
    """Return the selector's scores of the line's pool, where the policy leaves it a choice between plan and fix."""
    if not needs_scores(workspace.experiment.policy):
        return None
    drawn, chosen = pool(workspace, line, seeds), selector(workspace, line, seeds)
    return rollout_scores(workspace, questions(workspace), drawn, chosen).outputs["scores"]


# ---- preference pairs and ORPO


def critique_pairs(workspace: Workspace, labelling: Labelling, line: Line, seeds: Seeds) -> StageResult:
    """Return both validators' training pairs (`select`, `condition`) under a regime, balanced where it is asked."""
    built = regime_pairs(workspace, labelling.regime, line, seeds)
    if labelling.balance is Balance.NONE:
        return built
    other = labelling.matched_to
    target = None if other is None else critique_pairs(workspace, other, line, seeds).outputs
    return balance_pairs(workspace, labelling, built.outputs, target)


def regime_pairs(workspace: Workspace, regime: str, line: Line, seeds: Seeds) -> StageResult:
    """Return both validators' pairs under a regime, all of them, with the held-out ones (`…_evaluation`)."""
    known = scores(workspace, line, seeds) if replays_selector(regime, workspace.experiment.policy) else None
    return pair_critiques(workspace, questions(workspace), pool(workspace, line, seeds), regime, known)


def fixer_pairs(workspace: Workspace, line: Line, seeds: Seeds) -> StageResult:
    """Return the fixer's pairs from the line's pool: what the next iteration's fixer learns from."""
    return pair_fixes(workspace, questions(workspace), pool(workspace, line, seeds))


def planner_pairs(workspace: Workspace, seeds: Seeds) -> StageResult:
    """Return pairs of a correct against a wrong plan of every train question that has both."""
    return pair_plans(workspace, questions(workspace), plans(workspace, seeds))


def preferred_validator(
    workspace: Workspace, validator: Validator, labelling: Labelling, line: Line, seeds: Seeds
) -> StageResult:
    """Return a validator (`model`) trained under a regime or a control."""
    course = PreferenceCourse(
        validator_name(validator),
        supervised_validator(workspace, validator, seeds),
        critique_pairs(workspace, labelling, line, seeds).outputs[validator.value],
        regime_pairs(workspace, labelling.regime, line, seeds).outputs[f"{validator.value}_evaluation"],
        labelling.key,
        seeds.orpo,
        line.tags(),
    )
    return orpo(workspace, course)


def preferred_fixer(workspace: Workspace, line: Line, seeds: Seeds) -> StageResult:
    """Return the line's fixer (`model`) after ORPO on the line's pool: the next iteration's own fixer."""
    built = fixer_pairs(workspace, line, seeds).outputs
    mode, base = workspace.experiment.pairs.fixer, fixer(workspace, line, seeds)
    evaluation = built[f"{FIXER}_evaluation"]
    return orpo(workspace, PreferenceCourse(FIXER, base, built[FIXER], evaluation, mode, seeds.orpo, line.tags()))


def preferred_planner(workspace: Workspace, seeds: Seeds) -> StageResult:
    """Return the SFT planner (`model`) after ORPO on its own plans, correct against wrong."""
    experiment = workspace.experiment
    built = planner_pairs(workspace, seeds).outputs
    tags = {"k": str(experiment.pairs.k or experiment.rollout.plans)}
    base, evaluation = planner(workspace, seeds), built[f"{PLANNER}_evaluation"]
    return orpo(workspace, PreferenceCourse(PLANNER, base, built[PLANNER], evaluation, "execution", seeds.orpo, tags))


# ---- teams


def planner_team(workspace: Workspace, line: Line, seeds: Seeds) -> TeamModels:
    """Return the team of the SFT planner and the selector alone."""
    seed, chosen = _supervised_seed(workspace, seeds), selector(workspace, line, seeds)
    return TeamModels(PLANNER_ONLY, planner(workspace, seeds), chosen, {}, None, seed=seed)


def unfixed_team(workspace: Workspace, line: Line, seeds: Seeds) -> TeamModels:
    """Return the SFT team without its fixer: what the validators say reaches the selector alone."""
    seed, chosen = _supervised_seed(workspace, seeds), selector(workspace, line, seeds)
    validators = supervised_validators(workspace, seeds)
    return TeamModels(NO_FIXER, planner(workspace, seeds), chosen, validators, None, "sft", seed=seed)


def supervised_team(workspace: Workspace, line: Line, seeds: Seeds) -> TeamModels:
    """Return the team of SFT agents, before any preference training."""
    seed, validators = _supervised_seed(workspace, seeds), supervised_validators(workspace, seeds)
    chosen, fixes = selector(workspace, line, seeds), fixer(workspace, line, seeds)
    return TeamModels(SFT_TEAM, planner(workspace, seeds), chosen, validators, fixes, "sft", line, seed)


def preferred_team(workspace: Workspace, labelling: Labelling, line: Line, seeds: Seeds) -> TeamModels:
    """Return the team whose validators were trained under a regime or a control; all else is as in the SFT team."""
    validators = preferred_validators(workspace, labelling, line, seeds)
    chosen, fixes = selector(workspace, line, seeds), fixer(workspace, line, seeds)
    name = f"ORPO {labelling.name}"
    return TeamModels(name, planner(workspace, seeds), chosen, validators, fixes, labelling.key, line, seeds.orpo)


def preferred_validators(
    workspace: Workspace, labelling: Labelling, line: Line, seeds: Seeds
) -> dict[Validator, Artifact]:
    """Return both validators trained under a regime or a control."""
    return {
        validator: preferred_validator(workspace, validator, labelling, line, seeds).outputs["model"]
        for validator in Validator
    }


def named_team(workspace: Workspace, name: str, line: Line, seeds: Seeds) -> TeamModels:
    """Return a team that the experiment names; a given checkpoint is taken as it is."""
    members = workspace.experiment.teams[name]
    validators = members.validators
    return TeamModels(
        name,
        _named_planner(workspace, members.planner, seeds),
        _named_selector(workspace, members.selector, line, seeds),
        _named_validators(workspace, validators, line, seeds),
        _named_fixer(workspace, members.fixer, line, seeds),
        "" if validators == "none" else regime_label(validators),
        line if members.of_a_line else None,
        _named_seed(workspace, members, seeds),
    )


def _named_planner(workspace: Workspace, trained: str, seeds: Seeds) -> Artifact:
    if trained == "base":
        return base_model(workspace.experiment.models.planner)
    return planner(workspace, seeds) if trained == "sft" else preferred_planner(workspace, seeds).outputs["model"]


def _named_selector(workspace: Workspace, trained: str, line: Line, seeds: Seeds) -> Artifact | None:
    if trained == "base":
        return base_model(workspace.experiment.models.selector)
    return None if trained == "none" else selector(workspace, line, seeds)


def _named_seed(workspace: Workspace, members: TeamMembers, seeds: Seeds) -> int | None:
    if not members.trained:
        return None
    return seeds.orpo if members.preferred else _supervised_seed(workspace, seeds)


def _named_validators(workspace: Workspace, trained: str, line: Line, seeds: Seeds) -> dict[Validator, Artifact]:
    if trained == "none":
        return {}
    if trained == "base":
        return dict.fromkeys(Validator, base_model(workspace.experiment.models.validator))
    if trained == "sft":
        return supervised_validators(workspace, seeds)
    return preferred_validators(workspace, labelling_of(workspace.experiment, trained), line, seeds)


def _named_fixer(workspace: Workspace, trained: str, line: Line, seeds: Seeds) -> Artifact | None:
    if trained == "none":
        return None
    if trained == "base":
        return base_model(workspace.experiment.models.fixer)
    if trained == "sft":
        return fixer(workspace, line, seeds)
    return preferred_fixer(workspace, line, seeds).outputs["model"]


def _supervised_seed(workspace: Workspace, seeds: Seeds) -> int | None:
    """Return the number of an SFT team's seed where there are several such teams."""
    return seeds.sft if workspace.experiment.seeds_vary is SeedsVary.ALL else None


def teams(workspace: Workspace, name: str = "all") -> Iterator[TeamModels]:
    """Yield the teams of that name: ``planner``, ``validators``, ``sft``, a regime, a control, a named one, or ``all``.

    Per fixer and iteration there is one SFT team, and one team of each regime, control and seed; a team in which a line
    would change the selector alone has the first line's. Raises :class:`ConfigError` for any other name.
    """
    experiment = workspace.experiment
    known = (*team_names(experiment), "all")
    if name not in known and not is_own(name):
        raise ConfigError(f"a team must be one of {', '.join(known)}, but got {name!r}; choose one")
    first = next(lines(experiment))
    for title, build in (("planner", planner_team), ("validators", unfixed_team)):
        for seeds in supervised_seeds(experiment) if name in (title, "all") else ():
            yield build(workspace, first, seeds)
    for line in lines(experiment):
        for seeds in supervised_seeds(experiment) if name in ("sft", "all") else ():
            yield supervised_team(workspace, line, seeds)
        trained = () if name in (*SFT_TEAMS, *experiment.teams) else labellings_named(experiment, name)
        for labelling, seeds in product(trained, seeds_of(experiment)):
            yield preferred_team(workspace, labelling, line, seeds)
    for named, members in experiment.teams.items():
        own = lines(experiment) if members.of_a_line else (first,)
        replicates = seeds_of(experiment) if members.preferred else supervised_seeds(experiment)
        replicates = replicates if members.trained else replicates[:1]
        for line, seeds in product(own, replicates) if name in (named, "all") else ():
            yield named_team(workspace, named, line, seeds)


def team_names(experiment: Experiment) -> tuple[str, ...]:
    """Return the names that :func:`teams` knows: SFT teams', built-in regimes', controls', and the config's own."""
    trained = (one.key for one in labellings(experiment))
    return tuple(dict.fromkeys([*SFT_TEAMS, *Regime, *trained, *experiment.teams]))


# ---- what comes of them


def evaluation(workspace: Workspace, team: TeamModels, *, validation_only: bool = False) -> StageResult:
    """Return a team's judged candidates on all usable dev questions, or on the validation split."""
    built = assemble(workspace, team).outputs["team"]
    return evaluate(workspace, questions(workspace), built, team, validation_only=validation_only)


def ladder(workspace: Workspace, team: TeamModels, *, validation_only: bool = False) -> StageResult:
    """Return a team's ladder on all usable dev questions, or on the validation split."""
    built = assemble(workspace, team).outputs["team"]
    return climb_ladder(workspace, questions(workspace), built, team, validation_only=validation_only)


def supervised_ladder(workspace: Workspace, line: Line) -> StageResult:
    """Return the ladder of a line's SFT team, the first seed's."""
    return ladder(workspace, supervised_team(workspace, line, supervised_seeds(workspace.experiment)[0]))


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
        evaluation(workspace, preferred_team(workspace, labelling, line, seeds)).outputs["candidates"]
        for seeds in seeds_of(workspace.experiment)
    ]
    return Side(f"{labelling.name} ({line.label})", evaluations, workspace.experiment.seeds_vary)


def diagnosis(workspace: Workspace, line: Line) -> StageResult:
    """Return the diagnosis of a line's pool, the first seed's, and of the teams trained on it."""
    compared, seeds = regime_comparison(workspace, line), seeds_of(workspace.experiment)[0]
    subject = Subject(
        line,
        questions(workspace),
        pool(workspace, line, seeds),
        fixer(workspace, line, seeds),
        scores(workspace, line, seeds),
        {regime: regime_runs(workspace, regime, line) for regime in workspace.experiment.regimes},
        compared.outputs["comparisons"] if compared else None,
        supervised_ladder(workspace, line).outputs["ladder"],
    )
    return diagnose(workspace, subject)


def regime_runs(workspace: Workspace, regime: str, line: Line) -> RegimeRuns:
    """Return a regime's teams of every seed, and the ORPO runs of the first seed's validators."""
    seeds, labelling = seeds_of(workspace.experiment)[0], labelling_of(workspace.experiment, regime)
    trained = {validator: preferred_validator(workspace, validator, labelling, line, seeds) for validator in Validator}
    return RegimeRuns(regime_side(workspace, labelling, line), trained)
