"""The order of the whole experiment, on one page: up to the trained agents; their teams are in ``results.py``.

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

from collections.abc import Iterator
from itertools import product

from mats_sql.agents import FIXER, PLANNER, Validator, validator_name
from mats_sql.choices import Balance, FixerCritique
from mats_sql.config import UNTRAINED, Experiment
from mats_sql.pipeline.assemble import Line
from mats_sql.pipeline.balance import balance_pairs
from mats_sql.pipeline.base_models import base_model
from mats_sql.pipeline.orpo import PreferenceCourse, orpo
from mats_sql.pipeline.pairs import pair_critiques, pair_fixes, pair_plans
from mats_sql.pipeline.prepare import prepare
from mats_sql.pipeline.replicates import Seeds
from mats_sql.pipeline.rollout import PoolOrigin, rollout_plans, rollout_pool, rollout_scores
from mats_sql.pipeline.sft import sft_fixer, sft_planner, sft_selector, sft_validator
from mats_sql.pipeline.untrained import make_untrained
from mats_sql.pipeline.workspace import Workspace
from mats_sql.preference import (
    Labelling,
    replays_selector,
)
from mats_sql.rollout import needs_scores
from mats_sql.tracking import Artifact, StageResult

# ---- data


def questions(workspace: Workspace) -> Artifact:
    """Return the questions table: what is usable, what is validation."""
    return prepare(workspace).outputs["questions"]


def checkpoint(workspace: Workspace, name: str) -> Artifact:
    """Return the checkpoint of that name in ``models``; the one with random weights is made first."""
    if name == UNTRAINED:
        return make_untrained(workspace, questions(workspace)).outputs["model"]
    return base_model(name)


# ---- supervised agents, and what they write


def planner(workspace: Workspace, seeds: Seeds, without_fold: int | None = None) -> Artifact:
    """Return the SFT planner, or one that never saw a fold of the train questions."""
    begun, asked = checkpoint(workspace, workspace.experiment.models.planner), questions(workspace)
    return sft_planner(workspace, begun, asked, seed=seeds.sft, without_fold=without_fold).outputs["model"]


def plans(workspace: Workspace, seeds: Seeds) -> Artifact:
    """Return the judged plans of every train question, each by a planner that may not have seen it."""
    folds = workspace.experiment.rollout.folds
    planners = [planner(workspace, seeds, fold if folds > 1 else None) for fold in range(folds)]
    return rollout_plans(workspace, questions(workspace), planners, seed=seeds.pool).outputs["plans"]


def supervised_validator(workspace: Workspace, validator: Validator, seeds: Seeds) -> Artifact:
    """Return an SFT validator."""
    begun, learnt = checkpoint(workspace, workspace.experiment.models.validator), plans(workspace, seeds.supervised)
    return sft_validator(workspace, validator, begun, questions(workspace), learnt, seed=seeds.sft).outputs["model"]


def supervised_fixer(workspace: Workspace, mode: FixerCritique, seeds: Seeds) -> Artifact:
    """Return the SFT fixer of one critique mode."""
    begun, learnt = checkpoint(workspace, workspace.experiment.models.fixer), plans(workspace, seeds.supervised)
    return sft_fixer(workspace, mode, begun, questions(workspace), learnt, seed=seeds.sft).outputs["model"]


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
    return _selector_from(workspace, pool(workspace, line, seeds.supervised), seeds)


def own_selector(workspace: Workspace, origin: PoolOrigin, label: str, seeds: Seeds) -> Artifact:
    """Return a selector that learned from what a team's own validators and fixer write about the pool's plans."""
    drawn = rollout_pool(workspace, questions(workspace), origin, label=label, seed=seeds.pool)
    return _selector_from(workspace, drawn.outputs["pool"], seeds)


def _selector_from(workspace: Workspace, learnt: Artifact, seeds: Seeds) -> Artifact:
    begun = checkpoint(workspace, workspace.experiment.models.selector)
    return sft_selector(workspace, begun, questions(workspace), learnt, seed=seeds.sft).outputs["model"]


def scores(workspace: Workspace, line: Line, seeds: Seeds) -> Artifact | None:
    """Return the selector's scores of the line's pool, where the policy leaves it a choice between plan and fix."""
    if not needs_scores(workspace.experiment.policy):
        return None
    drawn, chosen = pool(workspace, line, seeds), selector(workspace, line, seeds)
    return rollout_scores(workspace, questions(workspace), drawn, chosen).outputs["scores"]


# ---- preference pairs and ORPO


def tuned_to(workspace: Workspace, labelling: Labelling) -> Workspace:
    """Return a view whose beta, learning rate and K are a labelling's own: its regime's.

    INDEP matched to a regime has that regime's, so that the two differ in their critiques alone.
    """
    experiment = workspace.experiment.tuned_to((labelling.matched_to or labelling).regime)
    return workspace if experiment is workspace.experiment else workspace.within(experiment, workspace.command)


def critique_pairs(workspace: Workspace, labelling: Labelling, line: Line, seeds: Seeds) -> StageResult:
    """Return both validators' training pairs (`select`, `condition`) under a regime, balanced where it is asked."""
    built = labelled_pairs(workspace, labelling, line, seeds)
    if labelling.balance is Balance.NONE:
        return built
    other = labelling.matched_to
    target = None if other is None else critique_pairs(workspace, other, line, seeds).outputs
    return balance_pairs(workspace, labelling, built.outputs, target)


def labelled_pairs(workspace: Workspace, labelling: Labelling, line: Line, seeds: Seeds) -> StageResult:
    """Return both validators' pairs under a labelling's regime, all of them, with those held out (`…_evaluation`)."""
    regime, view = labelling.regime, tuned_to(workspace, labelling)
    known = scores(workspace, line, seeds) if replays_selector(regime, workspace.experiment.policy) else None
    return pair_critiques(view, questions(workspace), pool(workspace, line, seeds), regime, known)


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
        labelled_pairs(workspace, labelling, line, seeds).outputs[f"{validator.value}_evaluation"],
        labelling.key,
        seeds.orpo,
        line.tags(),
    )
    return orpo(tuned_to(workspace, labelling), course)


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


def preferred_validators(
    workspace: Workspace, labelling: Labelling, line: Line, seeds: Seeds
) -> dict[Validator, Artifact]:
    """Return both validators trained under a regime or a control."""
    return {
        validator: preferred_validator(workspace, validator, labelling, line, seeds).outputs["model"]
        for validator in Validator
    }
