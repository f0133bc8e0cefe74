"""The regimes: pure functions that say which critiques of a pool are chosen and which are rejected.

| regime      | chosen when                                                                        |
|-------------|------------------------------------------------------------------------------------|
| `indep`     | the critique's verdict agrees with whether the SQL is correct                      |
| `collab`    | the fixer, given the critique, produces a correct SQL                              |
| `collab_v2` | the inference flow, given the critique, ends in a correct SQL                      |
| `strict`    | both `indep` and `collab_v2` choose it                                             |

The other validator's critique is its greedy one throughout, so that credit goes to the critique that earned it. A
critique without a verdict is rejected in every regime. ``collab_v2`` asks the team's own policy whether the gate
opens; a gate that stays closed keeps the plan's SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mats_sql.agents.critique import Critique, Validator, Verdict
from mats_sql.choices import Gate, Regime
from mats_sql.rollout.pool import CritiqueRow, FixRow, PlanRow, Pool
from mats_sql.sql.execution import Execution
from mats_sql.team.flow import gate_opens


@dataclass(frozen=True, slots=True)
class LabelledCritique:
    """A critique, the plan whose SQL it reviews, the fix made under it, and whether the regime chooses it."""

    critique: CritiqueRow
    plan: PlanRow
    fix: FixRow
    chosen: bool


@dataclass(frozen=True, slots=True)
class _Case:
    critique: CritiqueRow
    other: CritiqueRow
    plan: PlanRow
    fix: FixRow


def label_critiques(pool: Pool, validator: Validator, regime: Regime, gate: Gate) -> list[LabelledCritique]:
    """Return every critique of one validator with the regime's label, sorted by critique id.

    A critique whose fix was not drawn cannot be labelled and is left out.
    """
    cases = sorted(_cases(pool, validator), key=lambda case: case.critique.critique_id)
    return [LabelledCritique(case.critique, case.plan, case.fix, _chosen(case, regime, gate)) for case in cases]


def verdict_agrees(verdict: Verdict, *, correct: bool) -> bool:
    """Return whether a verdict agrees with the truth; a missing one never does."""
    return verdict is (Verdict.CORRECT if correct else Verdict.INCORRECT)


def _chosen(case: _Case, regime: Regime, gate: Gate) -> bool:
    if case.critique.verdict is Verdict.MISSING:
        return False
    if regime is Regime.INDEP:
        return verdict_agrees(case.critique.verdict, correct=case.plan.correct)
    if regime is Regime.COLLAB:
        return case.fix.correct
    ends_correct = _flow_ends_correct(case, gate)
    if regime is Regime.STRICT:
        return ends_correct and verdict_agrees(case.critique.verdict, correct=case.plan.correct)
    return ends_correct


def _flow_ends_correct(case: _Case, gate: Gate) -> bool:
    critiques = [Critique(row.validator, row.text, row.verdict) for row in (case.critique, case.other)]
    opened = gate_opens(gate, Execution(case.plan.outcome), critiques)
    return case.fix.correct if opened else case.plan.correct


def _cases(pool: Pool, validator: Validator) -> Iterator[_Case]:
    plans = pool.reviews()
    fixes = {(fix.review_id, fix.select_index, fix.condition_index): fix for fix in pool.fixes if fix.sample_index == 0}
    other = Validator.CONDITION if validator is Validator.SELECT else Validator.SELECT
    greedy = _greedy_critiques(pool, other)
    for critique in pool.critiques:
        if critique.validator is not validator or critique.review_id not in greedy:
            continue
        index = critique.sample_index
        pair = (index, 0) if validator is Validator.SELECT else (0, index)
        fix = fixes.get((critique.review_id, *pair))
        if fix is not None and critique.review_id in plans:
            yield _Case(critique, greedy[critique.review_id], plans[critique.review_id], fix)


def _greedy_critiques(pool: Pool, validator: Validator) -> Mapping[str, CritiqueRow]:
    return {row.review_id: row for row in pool.critiques if row.validator is validator and row.sample_index == 0}
