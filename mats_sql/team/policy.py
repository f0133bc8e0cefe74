"""A policy's rules as pure functions: the gate, what a fix does to its plan, grouping and selection.

The team applies them to what its agents say, and the labels of regime ``collab_v2`` to what a rollout drew. Everything
that decides an answer, given the agents' words, is here and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mats_sql.agents import Critique, Verdict
from mats_sql.choices import Gate, PoolRule, SelectorRule
from mats_sql.config import Policy
from mats_sql.sql import Execution

PLAN, FIX = "plan", "fix"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One SQL of one plan sample: the plan's own (``origin`` "plan") or the fixer's ("fix").

    ``eligible`` says whether the selector may pick it. ``group_size`` counts the eligible candidates that share its
    result. ``plan_text`` is the planner's whole answer, where a team gave it.
    """

    sample_index: int
    origin: str
    sql: str | None
    execution: Execution
    critiques: tuple[Critique, ...]
    gate_open: bool = False
    eligible: bool = True
    score: float | None = None
    group_size: int = 0
    selected: bool = False
    plan_text: str = field(default="", compare=False)


def gate_opens(gate: Gate, execution: Execution, critiques: Sequence[Critique]) -> bool:
    """Return whether a SQL goes to the fixer.

    A missing verdict opens no gate: only a critique that concludes *incorrect* complains.
    """
    if gate is Gate.ALWAYS:
        return True
    if not execution.ran:
        return True
    return gate is Gate.ON_COMPLAINT and any(critique.verdict is Verdict.INCORRECT for critique in critiques)


def wants_fix(policy: Policy, plan: Candidate) -> bool:
    """Return whether the fixer is asked: there is SQL, and the gate opens for it."""
    return plan.sql is not None and gate_opens(policy.gate, plan.execution, plan.critiques)


def join_fix(policy: Policy, plan: Candidate, sql: str | None, execution: Execution) -> list[Candidate]:
    """Return the candidates that a plan and the fixer's answer to it give; without SQL the plan stays alone."""
    plan = replace(plan, gate_open=True)
    if sql is None:
        return [plan]
    fix = replace(plan, origin=FIX, sql=sql, execution=execution)
    return [replace(plan, eligible=policy.pool is PoolRule.KEEP_BOTH), fix]


def selector_critiques(candidate: Candidate) -> tuple[Critique, ...]:
    """Return the critiques shown to the selector: those written about this very SQL, so none for a fix."""
    return candidate.critiques if candidate.origin == PLAN else ()


def with_groups(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates with the number of eligible ones that share each one's result; 0 when it did not run."""
    sizes = Counter(row.execution.digest for row in candidates if row.eligible and row.execution.ran)
    return [replace(row, group_size=sizes[row.execution.digest] if row.execution.ran else 0) for row in candidates]


def select(policy: Policy, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates with exactly one selected; ties go to the smallest sample index."""
    among = sum(row.eligible for row in candidates)

    def preference(position: int) -> tuple[bool, bool, float, int]:
        row = candidates[position]
        if policy.selector is SelectorRule.FIRST:
            return row.eligible, True, 0.0, -position
        support = row.group_size / among
        if policy.selector is SelectorRule.MAJORITY:
            return row.eligible, row.execution.ran, support, -position
        return row.eligible, row.execution.ran, (row.score or 0.0) + policy.agreement_weight * support, -position

    best = max(range(len(candidates)), key=preference)
    return tuple(replace(row, selected=position == best) for position, row in enumerate(candidates))


def regate(
    policy: Policy, candidates: Sequence[Candidate], opens: Callable[[Candidate], bool]
) -> tuple[Candidate, ...]:
    """Return what a question's candidates would be had another gate decided, with one of them selected.

    ``candidates`` are those of a policy under which every plan was fixed and nothing replaced (``always``,
    ``keep_both``), scored where a selector is asked; ``opens`` is the other gate, asked of every plan. With the
    policy's own gate (:func:`wants_fix`) these are, row for row, the candidates that the team itself gives.
    """
    fixes = {row.sample_index: row for row in candidates if row.origin == FIX}
    rows: list[Candidate] = []
    for plan in (replace(row, gate_open=False) for row in candidates if row.origin == PLAN):
        if not opens(plan):
            rows.append(plan)
            continue
        fix = fixes.get(plan.sample_index)
        if fix is None:
            rows += join_fix(policy, plan, None, plan.execution)
        else:
            joined = join_fix(policy, plan, fix.sql, fix.execution)
            rows += [replace(row, score=fix.score) if row.origin == FIX else row for row in joined]
    scored = [row if row.eligible else replace(row, score=None) for row in rows]
    return select(policy, with_groups(scored))
