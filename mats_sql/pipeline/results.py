"""The teams of an experiment, and what comes of them: evaluation, ladder, comparison, diagnosis.

The second half of the order (``mats_sql/pipeline/experiment.py`` is the first, up to the trained agents): each function
is one step, which asks for the steps that it needs and calls the stage that computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

from mats_sql.agents import Validator
from mats_sql.choices import Regime, SeedsVary
from mats_sql.config import SFT_TEAMS, Experiment, TeamMembers, is_own, regime_label
from mats_sql.errors import ConfigError
from mats_sql.pipeline.assemble import Line, TeamModels, assemble
from mats_sql.pipeline.compare import Control, Side, compare
from mats_sql.pipeline.diagnose import RegimeRuns, Subject, diagnose
from mats_sql.pipeline.evaluate import Blocks, evaluate
from mats_sql.pipeline.experiment import (
    checkpoint,
    fixer,
    lines,
    own_selector,
    planner,
    plans,
    pool,
    preferred_fixer,
    preferred_planner,
    preferred_validator,
    preferred_validators,
    questions,
    scores,
    selector,
    supervised_validators,
    tuned_to,
)
from mats_sql.pipeline.ladder import ladder as climb_ladder
from mats_sql.pipeline.replicates import Seeds, seeds_of, supervised_seeds
from mats_sql.pipeline.rollout import PoolOrigin
from mats_sql.pipeline.shown import preference_tags
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import (
    Labelling,
    balanced_control,
    labelling_of,
    labellings,
    labellings_named,
    matched_control,
    treatments,
)
from mats_sql.tracking import Artifact, StageResult

PLANNER_ONLY, NO_FIXER, SFT_TEAM = "PLANNER-only", "VALIDATORS-no-fixer", "SFT-VF"

TeamBuilder = Callable[[Workspace], TeamModels]
"""A team yet to be trained and put together. It can be pickled, so another process may do it."""


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
    """Return the team whose validators were trained under a regime or a control; all else is as in the SFT team.

    Its selector is the line's, or one that learned from what this team writes (``selectors``).
    """
    validators, fixes = preferred_validators(workspace, labelling, line, seeds), fixer(workspace, line, seeds)
    if workspace.experiment.selectors == "own":
        origin = PoolOrigin(plans(workspace, seeds), validators, fixes)
        chosen = own_selector(workspace, origin, labelling.key, seeds)
    else:
        chosen = selector(workspace, line, seeds)
    name, trained = f"ORPO {labelling.name}", preference_tags(tuned_to(workspace, labelling).experiment)
    made = planner(workspace, seeds)
    return TeamModels(name, made, chosen, validators, fixes, labelling.key, line, seeds.orpo, trained)


def named_team(workspace: Workspace, name: str, line: Line, seeds: Seeds) -> TeamModels:
    """Return a team that the experiment names; a given checkpoint is taken as it is."""
    members = workspace.experiment.teams[name]
    validators = _named_validators(workspace, members.validators, line, seeds)
    fixes = _named_fixer(workspace, members.fixer, line, seeds)
    if members.selector == "own" and fixes is not None:
        origin = PoolOrigin(plans(workspace, seeds), validators, fixes)
        chosen: Artifact | None = own_selector(workspace, origin, name, seeds)
    else:
        chosen = _named_selector(workspace, members.selector, line, seeds)
    return TeamModels(
        name,
        _named_planner(workspace, members.planner, seeds),
        chosen,
        validators,
        fixes,
        "" if members.validators == "none" else regime_label(members.validators),
        line if members.of_a_line else None,
        _named_seed(workspace, members, seeds),
        _named_preference(workspace, members),
    )


def _named_preference(workspace: Workspace, members: TeamMembers) -> dict[str, str]:
    """Return how a named team's agents were trained: its validators where they had ORPO, else planner or fixer."""
    if not members.preferred:
        return {}
    if members.validators in ("none", "base", "sft"):
        return preference_tags(workspace.experiment)
    return preference_tags(tuned_to(workspace, labelling_of(workspace.experiment, members.validators)).experiment)


def _named_planner(workspace: Workspace, trained: str, seeds: Seeds) -> Artifact:
    if trained == "base":
        return checkpoint(workspace, workspace.experiment.models.planner)
    return planner(workspace, seeds) if trained == "sft" else preferred_planner(workspace, seeds).outputs["model"]


def _named_selector(workspace: Workspace, trained: str, line: Line, seeds: Seeds) -> Artifact | None:
    if trained == "base":
        return checkpoint(workspace, workspace.experiment.models.selector)
    return None if trained == "none" else selector(workspace, line, seeds)


def _named_seed(workspace: Workspace, members: TeamMembers, seeds: Seeds) -> int | None:
    if not members.trained:
        return None
    return seeds.orpo if members.preferred else _supervised_seed(workspace, seeds)


def _named_validators(workspace: Workspace, trained: str, line: Line, seeds: Seeds) -> dict[Validator, Artifact]:
    if trained == "none":
        return {}
    if trained == "base":
        return dict.fromkeys(Validator, checkpoint(workspace, workspace.experiment.models.validator))
    if trained == "sft":
        return supervised_validators(workspace, seeds)
    return preferred_validators(workspace, labelling_of(workspace.experiment, trained), line, seeds)


def _named_fixer(workspace: Workspace, trained: str, line: Line, seeds: Seeds) -> Artifact | None:
    if trained == "none":
        return None
    if trained == "base":
        return checkpoint(workspace, workspace.experiment.models.fixer)
    if trained == "sft":
        return fixer(workspace, line, seeds)
    return preferred_fixer(workspace, line, seeds).outputs["model"]


def _supervised_seed(workspace: Workspace, seeds: Seeds) -> int | None:
    """Return the number of an SFT team's seed where there are several such teams."""
    return seeds.sft if workspace.experiment.seeds_vary is SeedsVary.ALL else None


def teams(workspace: Workspace, name: str = "all") -> Iterator[TeamModels]:
    """Yield the teams of that name, each trained when its turn comes; see :func:`team_builders`."""
    return (build(workspace) for build in team_builders(workspace.experiment, name))


def team_builders(experiment: Experiment, name: str = "all") -> list[TeamBuilder]:
    """Return what builds each team of that name: ``planner``, ``validators``, ``sft``, a regime, a control, a named
    one, or ``all``.

    Per fixer and iteration there is one SFT team, and one team of each regime, control and seed; a team in which a line
    would change the selector alone has the first line's. Raises :class:`ConfigError` for any other name.
    """
    known = (*team_names(experiment), "all")
    if name not in known and not is_own(name):
        raise ConfigError(f"a team must be one of {', '.join(known)}, but got {name!r}; choose one")
    built = [*_line_builders(experiment, name)] if name not in experiment.teams else []
    for named, members in experiment.teams.items():
        if name in (named, "all"):
            built += _named_builders(experiment, named, members)
    return built


def _line_builders(experiment: Experiment, name: str) -> Iterator[TeamBuilder]:
    first = next(lines(experiment))
    for title, build in (("planner", planner_team), ("validators", unfixed_team)):
        for seeds in supervised_seeds(experiment) if name in (title, "all") else ():
            yield partial(build, line=first, seeds=seeds)
    for line in lines(experiment):
        for seeds in supervised_seeds(experiment) if name in ("sft", "all") else ():
            yield partial(supervised_team, line=line, seeds=seeds)
        trained = () if name in SFT_TEAMS else labellings_named(experiment, name)
        for labelling, seeds in product(trained, seeds_of(experiment)):
            yield partial(preferred_team, labelling=labelling, line=line, seeds=seeds)


def _named_builders(experiment: Experiment, name: str, members: TeamMembers) -> Iterator[TeamBuilder]:
    own = lines(experiment) if members.of_a_line else [next(lines(experiment))]
    replicates = seeds_of(experiment) if members.preferred else supervised_seeds(experiment)
    for line, seeds in product(own, replicates if members.trained else replicates[:1]):
        yield partial(named_team, name=name, line=line, seeds=seeds)


def team_names(experiment: Experiment) -> tuple[str, ...]:
    """Return the names that :func:`teams` knows: SFT teams', built-in regimes', controls', and the config's own."""
    trained = (one.key for one in labellings(experiment))
    return tuple(dict.fromkeys([*SFT_TEAMS, *Regime, *trained, *experiment.teams]))


# ---- what comes of them


def built_evaluation(workspace: Workspace, build: TeamBuilder) -> StageResult:
    """Return the evaluation of a team on all usable dev questions, built first."""
    return evaluation(workspace, build(workspace))


def evaluation(
    workspace: Workspace, team: TeamModels, *, validation_only: bool = False, blocks: Blocks | None = None
) -> StageResult:
    """Return a team's judged candidates on all usable dev questions, or on validation (in blocks, if watched)."""
    built = assemble(workspace, team).outputs["team"]
    return evaluate(workspace, questions(workspace), built, team, validation_only=validation_only, blocks=blocks)


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
