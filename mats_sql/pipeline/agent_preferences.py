"""Preference pairs and ORPO by agent: the validators under their regimes, the planner, the fixer."""

from __future__ import annotations

from mats_sql.agents.names import PLANNER
from mats_sql.choices import PreferredAgent
from mats_sql.errors import ConfigError
from mats_sql.pipeline.iterations import Line, fixer_of, lines, orpo_all, pairs, pool_of
from mats_sql.pipeline.orpo import PreferenceCourse, prefer
from mats_sql.pipeline.pairs import fixer_pairs_of_pool, planner_pairs_of_plans
from mats_sql.pipeline.rollout_plans import rollout_plans
from mats_sql.pipeline.sft_planner import sft_planner
from mats_sql.pipeline.workspace import Workspace
from mats_sql.tracking.stage import StageResult


def build_pairs(workspace: Workspace, agent: PreferredAgent, regime: str) -> None:
    """Build the pairs of an agent; ``regime`` (or ``all``) labels critiques, so it concerns the validators only.

    Raises :class:`ConfigError` for another agent with a regime.
    """
    experiment = workspace.experiment
    _require_no_regime(agent, regime)
    if agent is PreferredAgent.PLANNER:
        planner_pairs(workspace)
        return
    for line in lines(experiment):
        if agent is PreferredAgent.FIXER:
            fixer_pairs_of_pool(workspace, pool_of(workspace, line))
            continue
        for item in experiment.regimes_named(regime):
            pairs(workspace, item, line)


def prefer_agent(workspace: Workspace, agent: PreferredAgent, regime: str) -> None:
    """Train an agent with ORPO, on the pairs that :func:`build_pairs` builds.

    Raises :class:`ConfigError` for an agent other than the validators with a regime.
    """
    experiment = workspace.experiment
    _require_no_regime(agent, regime)
    if agent is PreferredAgent.VALIDATORS:
        orpo_all(workspace, experiment.regimes_named(regime))
    elif agent is PreferredAgent.PLANNER:
        for seed in experiment.seeds:
            prefer_planner(workspace, seed)
    else:
        for line in lines(experiment):
            # the fixer that the next iteration would have
            fixer_of(workspace, Line(line.critique, line.iteration + 1))


def planner_pairs(workspace: Workspace) -> StageResult:
    """Return pairs of a correct against a wrong plan of every train question that has both."""
    return planner_pairs_of_plans(workspace, rollout_plans(workspace).outputs["plans"])


def prefer_planner(workspace: Workspace, seed: int) -> StageResult:
    """Return the SFT planner (`model`) after ORPO on its own plans, correct against wrong."""
    experiment = workspace.experiment
    built = planner_pairs(workspace).outputs
    course = PreferenceCourse(
        PLANNER,
        sft_planner(workspace).outputs["model"],
        built[PLANNER],
        built[f"{PLANNER}_evaluation"],
        "execution",
        seed,
        tags={"k": str(experiment.pairs.k or experiment.rollout.plans)},
    )
    return prefer(workspace, course)


def _require_no_regime(agent: PreferredAgent, regime: str) -> None:
    if agent is not PreferredAgent.VALIDATORS and regime != "all":
        raise ConfigError(
            f"--regime must be left out with --agent {agent.value}, but got {regime!r}; it labels critiques only"
        )
