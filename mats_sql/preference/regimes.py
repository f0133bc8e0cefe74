"""The regimes: pure functions that say what a critique of a pool is worth: a label, or a weight.

| regime      | chosen when                                                                        |
|-------------|------------------------------------------------------------------------------------|
| `indep`     | the critique's verdict agrees with whether the SQL is correct                      |
| `collab`    | the fixer, given the critique, produces a correct SQL                              |
| `collab_v2` | the inference flow, given the critique, ends in a correct SQL                      |
| `strict`    | both `indep` and `collab_v2` choose it                                             |
| `advantage` | it makes a right end likelier than another critique of the same SQL does           |
| `content`   | it says what the teacher says: it asks for the right clause, or approves rightly   |

A regime sees one :class:`~mats_sql.rollout.replay.Case`, which replays the team's own flow under a policy, and decides
by itself. A label is True (chosen) or False (rejected); a weight is a number, and of two critiques of one SQL the one
of the larger weight is chosen over the other. What holds for all regimes is in :func:`label_critiques`: a critique
without a verdict is chosen over none. To add a built-in one, write its function, name it in :data:`REGIMES` and in
:class:`~mats_sql.choices.Regime`; one of the user's own needs only its name in the config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isnan

from mats_sql.agents import Validator, Verdict
from mats_sql.choices import Regime
from mats_sql.config import Policy, is_own, known_regime, own_rule
from mats_sql.errors import ConfigError
from mats_sql.rollout import NO_SCORES, Case, CritiqueRow, FixRow, PlanRow, Pool, SelectorScores, cases, needs_scores


@dataclass(frozen=True, slots=True)
class LabelledCritique:
    """A critique, the plan whose SQL it reviews, the greedy fix made under it, and what the regime says it is worth."""

    critique: CritiqueRow
    plan: PlanRow
    fix: FixRow
    worth: bool | float

    @property
    def chosen(self) -> bool:
        """Whether the regime speaks for it: its label, or that its weight is above 0."""
        return self.worth > 0


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


def advantage(case: Case, policy: Policy) -> float:
    """Return how much likelier the team ends right with the critique than if nobody had criticised the plan.

    The likelihood is the share of the drawn fixes (``rollout.fixes``) with which the flow ends right; without a
    critique it ends with the plan. An approval is worth what the gate then leaves, mostly nothing.
    """
    return case.chance_correct(policy) - float(case.plan.correct)


def content(case: Case, _policy: Policy) -> bool:
    """Choose a critique whose content is right (:mod:`mats_sql.teaching.content`): content rather than verdict."""
    return case.critique.right_content


RegimeFunction = Callable[[Case, Policy], bool | float]

REGIMES: Mapping[Regime, RegimeFunction] = {
    Regime.INDEP: indep,
    Regime.COLLAB: collab,
    Regime.COLLAB_V2: collab_v2,
    Regime.STRICT: strict,
    Regime.ADVANTAGE: advantage,
    Regime.CONTENT: content,
}

REPLAYING = frozenset({Regime.COLLAB_V2, Regime.STRICT, Regime.ADVANTAGE})
"""The regimes that replay the policy; the labels of the others depend on none of its settings."""


def label_critiques(
    pool: Pool, validator: Validator, regime: str, policy: Policy, scores: SelectorScores | None = None
) -> list[LabelledCritique]:
    """Return every critique of one validator with the regime's label or weight, sorted by critique id.

    A critique whose fix was not drawn cannot be labelled and is left out. One without a verdict is not shown to the
    regime: it is worth what the least of its SQL is, and never more than a rejected one. Raises :class:`ConfigError`
    for a regime that there is not, for one of the user's own that answers with no number, and without ``scores`` where
    :func:`replays_selector` holds.
    """
    if scores is None and replays_selector(regime, policy):
        raise ConfigError(NO_SCORES)
    rule = _rule(regime)
    found = cases(pool, validator, scores)
    said = {
        case.critique.critique_id: rule(case, policy) for case in found if case.critique.verdict is not Verdict.MISSING
    }
    least = _least(found, said)
    return [
        LabelledCritique(
            case.critique,
            case.plan,
            case.fix,
            said.get(case.critique.critique_id, least.get(case.critique.review_id, False)),
        )
        for case in found
    ]


def replays_selector(regime: str, policy: Policy) -> bool:
    """Return whether a regime's labels need the selector's scores of the pool; a user's own may replay the policy."""
    return (regime in REPLAYING or is_own(regime)) and needs_scores(policy)


def verdict_agrees(verdict: Verdict, *, correct: bool) -> bool:
    """Return whether a verdict agrees with the truth; a missing one never does."""
    return verdict is (Verdict.CORRECT if correct else Verdict.INCORRECT)


def _rule(regime: str) -> RegimeFunction:
    if not is_own(regime):
        return REGIMES[Regime(known_regime(regime))]
    function = own_rule(regime).function

    def checked(case: Case, policy: Policy) -> bool | float:
        worth = function(case, policy)
        if not isinstance(worth, bool | int | float) or isnan(worth):
            raise ConfigError(
                f"a regime must answer with true, false or a number, but {regime} says {worth!r} of the critique "
                f"{case.critique.critique_id}; mend the rule"
            )
        return worth

    return checked


def _least(found: Iterable[Case], said: Mapping[str, bool | float]) -> dict[str, bool | float]:
    """Return, per reviewed SQL, the least that one of its critiques is worth, at most False."""
    least: dict[str, bool | float] = {}
    for case in found:
        if case.critique.critique_id in said:
            worth, before = said[case.critique.critique_id], least.get(case.critique.review_id, False)
            least[case.critique.review_id] = worth if worth < before else before
    return least
