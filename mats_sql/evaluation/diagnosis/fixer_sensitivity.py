"""Whether a fixer listens: how its answers change with the critique, and whether right verdicts make right fixes.

A right verdict says what the judge says. Whether the critique's words are right too is the ladder's to tell. Pure
functions over a pool's greedy fixes (sample 0).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mats_sql.agents import Validator, Verdict
from mats_sql.choices import Regime
from mats_sql.config import Policy
from mats_sql.evaluation.comparison.intervals import UNKNOWN, Interval, cluster_mean
from mats_sql.evaluation.comparison.proportion import Proportion
from mats_sql.preference import LabelledCritique, label_critiques
from mats_sql.rollout import FixRow, PlanRow, Pool


@dataclass(frozen=True, slots=True)
class CausalEffect:
    """How much likelier a correct fix is under one kind of critique than under another *of the same plan*.

    A mean over plans that have both kinds (fraction; NaN when there is none), with a cluster t interval over databases.
    """

    plans: int
    difference: float
    interval: Interval

    @property
    def shown(self) -> str:
        """The effect in percentage points with its interval, or a dash when no plan has both kinds."""
        if not self.plans:
            return "–"
        low, high = 100 * self.interval.low, 100 * self.interval.high
        spread = f" [95% CI {low:+.1f}, {high:+.1f}]" if self.interval.known else ""
        return f"{100 * self.difference:+.1f} pp{spread}"


@dataclass(frozen=True, slots=True)
class FixerSensitivity:
    """Whether the fixer's answer depends on the critique.

    ``changed`` is over plans with at least two critiques, ``changed_given_feedback`` over those whose critiques gave at
    least two different feedback texts (approving critiques are blanked, so many do not). ``right_wrong`` compares right
    with wrong verdicts; ``on_wrong_plans`` and ``on_right_plans`` are its parts (rescuing, and not harming).
    ``swapped`` compares own critiques that have the right verdict with those of another question (None when none were
    drawn).
    """

    changed: Proportion
    changed_given_feedback: Proportion
    distinct_fixes_per_plan: float
    distinct_feedbacks_per_plan: float
    critiques_per_plan: float
    right_wrong: CausalEffect
    on_wrong_plans: CausalEffect
    on_right_plans: CausalEffect
    swapped: CausalEffect | None


def fixer_sensitivity(pool: Pool, swapped_fixes: Sequence[FixRow] = ()) -> FixerSensitivity:
    """Measure how the fixer's answers depend on the critiques they were given."""
    fixes = _greedy_fixes(pool)
    several = [rows for rows in fixes.values() if len(rows) > 1]
    told_apart = [rows for rows in several if len({row.feedback for row in rows}) > 1]
    # INDEP chooses exactly the right verdicts, whatever the policy.
    labelled = [item for name in Validator for item in label_critiques(pool, name, Regime.INDEP, Policy())]
    return FixerSensitivity(
        changed=Proportion.of(_distinct_sql(rows) > 1 for rows in several),
        changed_given_feedback=Proportion.of(_distinct_sql(rows) > 1 for rows in told_apart),
        distinct_fixes_per_plan=_mean(_distinct_sql(rows) for rows in fixes.values()),
        distinct_feedbacks_per_plan=_mean(len({row.feedback for row in rows}) for rows in fixes.values()),
        critiques_per_plan=_mean(len(rows) for rows in fixes.values()),
        right_wrong=_right_wrong(labelled),
        on_wrong_plans=_right_wrong(item for item in labelled if not item.plan.correct),
        on_right_plans=_right_wrong(item for item in labelled if item.plan.correct),
        swapped=_swapped(labelled, swapped_fixes) if swapped_fixes else None,
    )


def causal_effect(plans: Mapping[str, PlanRow], outcomes: Mapping[str, Sequence[tuple[bool, bool]]]) -> CausalEffect:
    """Return the mean over plans of P(correct | treated) - P(correct | not).

    ``outcomes`` maps a review id to (treated, fix correct); plans that lack one of the two are left out.
    """
    differences: dict[str, list[float]] = defaultdict(list)
    for review, pairs in outcomes.items():
        treated, others = ([correct for kind, correct in pairs if kind is wanted] for wanted in (True, False))
        if treated and others:
            differences[plans[review].db_id].append(_mean(treated) - _mean(others))
    if not differences:
        return CausalEffect(0, float("nan"), UNKNOWN)
    clusters = cluster_mean({name: np.array(values) for name, values in differences.items()})
    return CausalEffect(sum(map(len, differences.values())), clusters.mean, clusters.interval())


def _right_wrong(labelled: Iterable[LabelledCritique]) -> CausalEffect:
    """Compare right with wrong verdicts; critiques without a verdict are neither."""
    outcomes: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    plans: dict[str, PlanRow] = {}
    for item in labelled:
        if item.critique.verdict is not Verdict.MISSING:
            outcomes[item.plan.review_id].append((item.chosen, item.fix.correct))
            plans[item.plan.review_id] = item.plan
    return causal_effect(plans, outcomes)


def _swapped(labelled: Sequence[LabelledCritique], swapped_fixes: Sequence[FixRow]) -> CausalEffect:
    plans = {item.plan.review_id: item.plan for item in labelled}
    outcomes: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for item in labelled:
        if item.chosen:
            outcomes[item.plan.review_id].append((True, item.fix.correct))
    for fix in swapped_fixes:
        if fix.review_id in plans:
            outcomes[fix.review_id].append((False, fix.correct))
    return causal_effect(plans, outcomes)


def _greedy_fixes(pool: Pool) -> dict[str, list[FixRow]]:
    found: dict[str, list[FixRow]] = defaultdict(list)
    for fix in pool.fixes:
        if fix.sample_index == 0:
            found[fix.review_id].append(fix)
    return found


def _distinct_sql(fixes: Iterable[FixRow]) -> int:
    return len({fix.sql for fix in fixes})


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else float("nan")
