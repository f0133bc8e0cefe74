"""The inference flow replayed on what a pool holds: one plan, a pair of critiques, the fix drawn under them.

The team's own rules decide (:mod:`mats_sql.team.policy`); only the agents' words come from the pool. Credit goes to one
critique at a time: the other validator's critique is its greedy one, and the question's other plans are held out, so
that the candidates are the plan's SQL and its fix alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mats_sql.agents import Validator
from mats_sql.choices import PoolRule, SelectorRule
from mats_sql.config import Policy
from mats_sql.errors import ConfigError, StageInputError
from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, Pool, review_id
from mats_sql.sql import Execution
from mats_sql.team import PLAN, Candidate, join_fix, select, selector_critiques, wants_fix, with_groups

ScoreKey = tuple[str, str]
"""(review id of the candidate's own SQL, the verdicts shown with it)."""

SelectorScores = Mapping[ScoreKey, float]
"""The selector's P(yes) by candidate."""

NO_SCORES = (
    "labels under policy.pool=keep_both and policy.selector=trained must know the selector's scores of the pool, but "
    "there are none; score the pool first, or set policy.selector=majority or policy.pool=replace"
)


@dataclass(frozen=True, slots=True)
class Case:
    """A critique, the other validator's greedy one, the plan whose SQL both review, and the greedy fix under both.

    ``scores`` are the selector's, where it has to choose between plan and fix. ``fixes`` are all that were drawn under
    both critiques (``rollout.fixes``), the greedy one first.
    """

    critique: CritiqueRow
    other: CritiqueRow
    plan: PlanRow
    fix: FixRow
    scores: SelectorScores | None = None
    fixes: tuple[FixRow, ...] = ()

    def candidates(self, policy: Policy) -> list[Candidate]:
        """Return what the flow makes of the plan: itself, and the fix when the gate opens and the fixer gave SQL."""
        critiques = tuple(row.critique for row in sorted((self.critique, self.other), key=_validator_order))
        plan = Candidate(self.plan.sample_index, PLAN, self.plan.sql, _execution(self.plan, "plan"), critiques)
        if not wants_fix(policy, plan):
            return [plan]
        return join_fix(policy, plan, self.fix.sql, _execution(self.fix, "fix"))

    def undecided(self, policy: Policy) -> list[Candidate]:
        """Return the candidates that a trained selector has to choose among; empty when there is no choice."""
        eligible = [row for row in self.candidates(policy) if row.eligible]
        return eligible if len(eligible) > 1 and policy.selector is SelectorRule.TRAINED else []

    def ends_correct(self, policy: Policy) -> bool:
        """Return whether the policy ends in a correct SQL.

        Raises :class:`ConfigError` when a trained selector has to choose and there are no scores, and
        :class:`StageInputError` when the scores are of another pool or policy.
        """
        candidates = self.candidates(policy)
        if self.undecided(policy):
            candidates = [replace(row, score=self._score(row)) for row in candidates]
        selected = next(row for row in select(policy, with_groups(candidates)) if row.selected)
        return self.row(selected).correct

    def under_each_fix(self) -> list[Case]:
        """Return this case as it would be had each of the drawn fixes been the one written."""
        return [replace(self, fix=fix) for fix in self.fixes or (self.fix,)]

    def chance_correct(self, policy: Policy) -> float:
        """Return how likely the policy ends in a correct SQL: the share of the drawn fixes with which it does.

        A flow that does not ask the fixer ends the same with each. Raises as :meth:`ends_correct` does.
        """
        ends = [case.ends_correct(policy) for case in self.under_each_fix()]
        return sum(ends) / len(ends)

    def row(self, candidate: Candidate) -> PlanRow | FixRow:
        """Return the pool's row of one of this case's candidates."""
        return self.plan if candidate.origin == PLAN else self.fix

    def score_key(self, candidate: Candidate) -> ScoreKey:
        """Return what tells the selector's prompt about a candidate from others."""
        verdicts = ",".join(critique.verdict for critique in selector_critiques(candidate))
        return review_id(self.plan.question_id, candidate.sql or ""), verdicts

    def _score(self, candidate: Candidate) -> float:
        if self.scores is None:
            raise ConfigError(NO_SCORES)
        key = self.score_key(candidate)
        if key not in self.scores:
            raise StageInputError(
                f"the selector's scores must cover the pool that is labelled, but lack {key}; score the pool again"
            )
        return self.scores[key]


def cases(pool: Pool, validator: Validator, scores: SelectorScores | None = None) -> list[Case]:
    """Return a case per critique of one validator, sorted by critique id; without its greedy fix there is none."""
    plans = pool.reviews()
    fixes: dict[tuple[str, int, int], list[FixRow]] = defaultdict(list)
    for fix in sorted(pool.fixes, key=lambda fix: fix.sample_index):
        fixes[fix.review_id, fix.select_index, fix.condition_index].append(fix)
    other = Validator.CONDITION if validator is Validator.SELECT else Validator.SELECT
    greedy = pool.greedy_critiques(other)
    found = []
    for critique in pool.critiques:
        if critique.validator is not validator or critique.review_id not in greedy:
            continue
        index = critique.sample_index
        pair = (index, 0) if validator is Validator.SELECT else (0, index)
        drawn = tuple(fixes.get((critique.review_id, *pair), ()))
        if drawn and drawn[0].sample_index == 0 and critique.review_id in plans:
            plan, other_critique = plans[critique.review_id], greedy[critique.review_id]
            found.append(Case(critique, other_critique, plan, drawn[0], scores, drawn))
    return sorted(found, key=lambda case: case.critique.critique_id)


def needs_scores(policy: Policy) -> bool:
    """Return whether the replay asks the selector: whether it may have to choose between a plan and its fix."""
    return policy.pool is PoolRule.KEEP_BOTH and policy.selector is SelectorRule.TRAINED


def _execution(row: PlanRow | FixRow, digest: str) -> Execution:
    """Return the execution of a pool's row, which has no digest of its result.

    Two candidates share one group or have one each, so that their support is equal either way; and where they share
    it, their SQL are right or wrong together. Hence any two digests decide what the real ones do.
    """
    return Execution(row.outcome, digest=digest)


def _validator_order(row: CritiqueRow) -> int:
    return list(Validator).index(row.validator)
