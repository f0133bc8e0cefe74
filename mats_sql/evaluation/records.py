"""What an evaluation keeps of every candidate: the one table that all metrics are computed from."""

from __future__ import annotations

from dataclasses import dataclass

from mats_sql.agents import Verdict
from mats_sql.sql import Outcome, VerdictClass


@dataclass(frozen=True, slots=True)
class JudgedCandidate:
    """One SQL of one question: the plan's own (``origin`` plan) or the fixer's (``origin`` fix).

    Every plan sample has a ``plan`` row; it has a ``fix`` row too when the gate opened and the fixer gave SQL.
    ``in_pool`` says whether the selector may pick the row (under ``replace`` a fixed plan's own SQL is not in the
    pool). ``result_digest`` groups equal results (empty when the SQL did not run). ``group_size`` counts, among the
    question's pool rows, those with this row's result. The verdicts are those on the plan's SQL (missing when no
    validator was asked). Exactly one row of a question is ``selected``.
    """

    question_id: int
    db_id: str
    difficulty: str
    sample_index: int
    origin: str
    sql: str | None
    outcome: Outcome
    result_digest: str
    verdict: VerdictClass
    gate_open: bool
    in_pool: bool
    selected: bool
    select_verdict: Verdict
    condition_verdict: Verdict
    selector_score: float | None
    group_size: int
