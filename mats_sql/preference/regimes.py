"""The regimes: pure functions that say which critiques of a pool are chosen and which are rejected.

| regime      | chosen when                                                                        |
|-------------|------------------------------------------------------------------------------------|
| `indep`     | the critique's verdict agrees with whether the SQL is correct                      |
| `collab`    | the fixer, given the critique, produces a correct SQL                              |
| `collab_v2` | the inference flow, given the critique, ends in a correct SQL                      |
| `strict`    | both `indep` and `collab_v2` choose it                                             |

A regime sees one :class:`~mats_sql.rollout.replay.Case`, which replays the team's own flow under a policy, and decides
by itself; what holds for all of them is in :func:`label_critiques`: a critique without a verdict is rejected.
To add one, write its function, name it in :data:`REGIMES` and in :class:`~mats_sql.choices.Regime`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mats_sql.agents import Validator, Verdict
from mats_sql.choices import Regime
from mats_sql.config import Policy
from mats_sql.errors import ConfigError
from mats_sql.rollout import NO_SCORES, Case, CritiqueRow, FixRow, PlanRow, Pool, SelectorScores, cases, needs_scores


@dataclass(frozen=True, slots=True)
class LabelledCritique:
    """A critique, the plan whose SQL it reviews, the fix made under it, and whether the regime chooses it."""

    critique: CritiqueRow
    plan: PlanRow
    fix: FixRow
    chosen: bool


def indep(case: Case, _policy: Policy) -> bool:
    """Choose a critique whose verdict agrees with the judge."""
    return verdict_agrees(case.critique.verdict, correct=case.plan.correct)


def collab(case: Case, _policy: Policy) -> bool:
    """Choose a critique under which the fixer writes a correct SQL, whether or not a team would ask it."""
    return case.fix.correct


def collab_v2(case: Case, policy: Policy) -> bool:
    """Choose a critique under which the team ends in a correct SQL."""
    return case.ends_correct(policy)


def strict(case: Case, policy: Policy) -> bool:
    """Choose a critique that is right and ends right."""
    return indep(case, policy) and collab_v2(case, policy)


RegimeFunction = Callable[[Case, Policy], bool]

REGIMES: Mapping[Regime, RegimeFunction] = {
    Regime.INDEP: indep,
    Regime.COLLAB: collab,
    Regime.COLLAB_V2: collab_v2,
    Regime.STRICT: strict,
}

REPLAYING = frozenset({Regime.COLLAB_V2, Regime.STRICT})
"""The regimes that replay the policy; the labels of the others depend on none of its settings."""


def label_critiques(
    pool: Pool, validator: Validator, regime: Regime, policy: Policy, scores: SelectorScores | None = None
) -> list[LabelledCritique]:
    """Return every critique of one validator with the regime's label, sorted by critique id.

    A critique whose fix was not drawn cannot be labelled and is left out. Raises :class:`ConfigError` without
    ``scores`` where :func:`replays_selector` holds.
    """
    if scores is None and replays_selector(regime, policy):
        raise ConfigError(NO_SCORES)
    chooses = REGIMES[regime]
    return [
        LabelledCritique(
            case.critique, case.plan, case.fix, case.critique.verdict is not Verdict.MISSING and chooses(case, policy)
        )
        for case in cases(pool, validator, scores)
    ]


def replays_selector(regime: Regime, policy: Policy) -> bool:
    """Return whether a regime's labels need the selector's scores of the pool."""
    return regime in REPLAYING and needs_scores(policy)


def verdict_agrees(verdict: Verdict, *, correct: bool) -> bool:
    """Return whether a verdict agrees with the truth; a missing one never does."""
    return verdict is (Verdict.CORRECT if correct else Verdict.INCORRECT)
