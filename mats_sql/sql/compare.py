"""Compare two whole executions by their digests: what the judge does where it cannot see rows as they come."""

from __future__ import annotations

from mats_sql.sql.execution import Execution, Outcome
from mats_sql.sql.verdict import Judgement, VerdictClass


def compare(gold: Execution, candidate: Execution) -> Judgement:
    """Return the judgement of a candidate's execution against gold's, under all three readings."""
    if not gold.ran:
        return _alike(VerdictClass.GOLD_UNAVAILABLE, Outcome.ERROR)
    if not candidate.ran:
        return _alike(VerdictClass(candidate.outcome), candidate.outcome)
    same = (
        gold.digest == candidate.digest,
        gold.multiset_digest == candidate.multiset_digest,
        gold.ordered_digest == candidate.ordered_digest,
    )
    official, multiset, ordered = (VerdictClass.CORRECT if equal else VerdictClass.WRONG for equal in same)
    return Judgement(official, multiset, ordered, candidate.outcome)


def _alike(verdict: VerdictClass, outcome: Outcome) -> Judgement:
    return Judgement(verdict, verdict, verdict, outcome)
